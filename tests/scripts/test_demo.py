"""scripts/demo.py: which volumes it takes, what it replaces, how it stops, and what it draws and leaves."""

import importlib.util
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from isegm.data import Sample
from isegm.evaluation.protocol import Protocol
from isegm.evaluation.run import predictor_for
from isegm.geometry import Click
from isegm.metrics.overlap import mask_iou
from isegm.model.checkpoint import load_model
from isegm.storage import read_grey, read_image
from tests.scripts.workspace import REPOSITORY, bright_network, easy_sample, save_sample, shell

SCRIPT = REPOSITORY / "scripts" / "demo.py"
TASKS = {"liver": "Task03_Liver", "lung": "Task06_Lung", "spleen": "Task09_Spleen"}


@pytest.fixture
def demo(monkeypatch, tmp_path):
    """The script as a module, in a current folder of the test's own."""
    spec = importlib.util.spec_from_file_location("demo", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.chdir(tmp_path)
    return module


@pytest.fixture
def network(tmp_path):
    """A network that sees light."""
    torch.save({"state_dict": bright_network().state_dict()}, tmp_path / "bright.pth")
    return Path("bright.pth")


def make_parts(folder, *parts):
    for part in parts or ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    return folder


def everything_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


# -- whose volumes


def test_one_folder_of_volumes_and_labels_is_the_organs_that_is_named(demo, tmp_path):
    data = make_parts(tmp_path / "Task09_Spleen")
    assert demo.find_volumes(data, "spleen") == {"spleen": data}
    assert demo.find_volumes(data, "lung") == {"lung": data}


def test_of_the_decathlons_tasks_those_that_are_there_are_taken(demo, tmp_path):
    for task in ("Task09_Spleen", "Task03_Liver", "Task10_Colon"):
        make_parts(tmp_path / task)
    spleen, liver = tmp_path / "Task09_Spleen", tmp_path / "Task03_Liver"
    assert list(demo.find_volumes(tmp_path, None).items()) == [("liver", liver), ("spleen", spleen)]
    assert demo.find_volumes(tmp_path, "spleen") == {"spleen": spleen}


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("--data=nowhere", "nowhere: no such folder; check --data"),
        ("--data=file", "file: no such folder; check --data"),
        (
            "--data=empty",
            "empty: holds neither imagesTr and labelsTr nor Task03_Liver or Task06_Lung or Task09_Spleen; "
            "check --data",
        ),
        ("--data=tasks --organ=lung", "tasks: holds neither imagesTr and labelsTr nor Task06_Lung; check"),
        ("--data=whose", "whose: whose labels are these? give --organ liver, lung, spleen"),
        ("--data=whose --organ=brain", "argument --organ: invalid choice: 'brain'"),
        ("--data=unlabelled --organ=liver", "unlabelled: has no labelsTr; put volumes into imagesTr, labels"),
        ("--data=tasks", "tasks/Task09_Spleen: has no imagesTr; put volumes into imagesTr, labels into"),
        ("--folder=file", "file: is a file; give another --folder"),
        ("--folder=whose", "whose: not empty, and not made by the demo; give another --folder"),
        (
            "--folder=earlier --data=earlier/volumes",
            "earlier/volumes: lies in earlier, which the demo replaces; give another --folder",
        ),
        ("--folder=earlier --data=empty/../earlier/volumes/Task03_Liver --organ=liver", "empty/../earlier/"),
        ("tasks", "unrecognized arguments: tasks"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(demo, tmp_path, monkeypatch, capsys, line, complaint):
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("too early"))
    (tmp_path / "file").write_text("mine")
    (tmp_path / "empty").mkdir()
    make_parts(tmp_path / "whose")
    make_parts(tmp_path / "unlabelled", "imagesTr")
    make_parts(tmp_path / "tasks" / "Task03_Liver")
    make_parts(tmp_path / "tasks" / "Task09_Spleen", "labelsTr")
    make_parts(tmp_path / "earlier" / "volumes" / "Task03_Liver")
    (tmp_path / "earlier" / demo.MARKER).write_text("")
    before = everything_in(tmp_path)
    assert demo.main(shlex.split(line)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert f": error: {complaint}" in err
    assert everything_in(tmp_path) == before


# -- what is replaced


@pytest.mark.parametrize("there", ["nothing", "an empty folder", "an earlier demo"])
def test_the_folder_is_made_anew_where_nothing_of_the_users_is(demo, tmp_path, there):
    folder = tmp_path / "deep" / "demo"
    if there != "nothing":
        folder.mkdir(parents=True)
    if there == "an earlier demo":
        demo.prepare_folder(folder, None)
        (folder / "results").mkdir()
        (folder / "results" / "results.json").write_text("{}")
    demo.prepare_folder(folder, tmp_path)
    assert everything_in(tmp_path) == ["deep", "deep/demo", f"deep/demo/{demo.MARKER}"]


def test_what_the_demo_did_not_make_stays(demo, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(demo.InputError, match="not made by the demo"):
        demo.prepare_folder(tmp_path, None)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


# -- the steps


def write_json(path, document):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))


def evaluated(folder, path="weights/net.pth", organs=("liver",)):
    """What an evaluation of ``net`` and the baseline says, as far as the demo reads it."""
    results = [
        {"model": model, "dataset": organ, "noc": [{"mean": 1.0}, {"mean": mean + number}]}
        for model, mean in (("net", 2.5), ("geodesic", 7.0))
        for number, organ in enumerate(organs)
    ]
    settings = {"eval_mode": "fixed64", "n_clicks": 20, "min_n_clicks": 1, "target_iou": 0.9, "thresh": 0.5}
    settings |= {"clicks_limit": None, "flip": False, "metric": "iou"}
    checkpoints = [{"name": "net", "path": str(path)}]
    document = {"checkpoints": checkpoints, "settings": settings, "results": results}
    write_json(folder / "results" / "results.json", document)
    return document


@pytest.mark.parametrize("place", ["the repository", "elsewhere"])
def test_the_commands_are_those_that_a_user_would_give(demo, tmp_path, monkeypatch, place):
    prefix = f"{REPOSITORY}/"
    if place == "the repository":
        monkeypatch.chdir(REPOSITORY)
        prefix = ""
    folder = tmp_path / "demo"
    evaluated(folder)
    volumes = demo.tasks_in(folder / "volumes", None)
    lines = [shlex.join(words) for words in demo.steps(demo.Demo(folder, volumes, True, "hr32"))]
    windowed, data, masks = f"{folder}/windowed", f"{folder}/datasets", f"{folder}/results/predictions/net"
    each = [(organ, f"{folder}/volumes/{task}") for organ, task in TASKS.items()]
    assert lines == [
        f"{prefix}scripts/generate_phantoms.py {folder}/volumes --seed={demo.SEED}",
        *(
            f"{prefix}normalize_ct_images.py {task}/imagesTr {windowed}/{organ} {organ}"
            for organ, task in each
        ),
        *(f"{prefix}extraer_imagenes.py {task}/labelsTr {data} {organ}" for organ, task in each),
        f"{prefix}scripts/evaluate_model.py EMC-Click --checkpoint=hr32 --config-path={folder}/config.yml "
        "--datasets=liver,lung,spleen --n-clicks=20 --thresh=0.5 --vis --baseline "
        f"--logs-path={folder}/results",
        *(
            f"{prefix}metricas.py {data}/{organ}/masks {masks}/{organ} {organ} --output={folder}/metrics"
            for organ in TASKS
        ),
    ]


def test_on_data_nothing_is_generated_and_without_a_checkpoint_none_is_named(demo, tmp_path):
    evaluated(tmp_path / "demo")
    words = list(demo.steps(demo.Demo(Path("demo"), {"lung": Path("my data")}, False, None)))
    assert [Path(step[0]).name for step in words] == [
        "normalize_ct_images.py",
        "extraer_imagenes.py",
        "evaluate_model.py",
        "metricas.py",
    ]
    assert words[0][1:] == ["my data/imagesTr", "demo/windowed/lung", "lung"]
    assert not any(word.startswith("--checkpoint") for word in words[2])


@pytest.mark.parametrize(("status", "exit_status"), [(1, 1), (2, 2), (130, 130), (-9, 137)])
def test_a_step_that_fails_ends_the_demo_with_its_status(
    demo, tmp_path, monkeypatch, capsys, status, exit_status
):
    make_parts(tmp_path / "data")
    run = []

    def one_that_fails_second(command, check):
        run.append(command)
        return subprocess.CompletedProcess(command, status if len(run) == 2 else 0)

    monkeypatch.setattr(subprocess, "run", one_that_fails_second)
    assert demo.main(["--data=data", "--organ=liver"]) == exit_status
    out, err = capsys.readouterr()
    tools = [f"{REPOSITORY}/normalize_ct_images.py", f"{REPOSITORY}/extraer_imagenes.py"]
    assert [command[:2] for command in run] == [[sys.executable, tool] for tool in tools]
    assert out.splitlines() == [
        "",
        f"$ python {tools[0]} data/imagesTr demo/windowed/liver liver",
        "",
        f"$ python {tools[1]} data/labelsTr demo/datasets liver",
    ]
    assert err == f"demo.py: stopped: {tools[1]} ended with exit status {status}\n"


def test_a_folder_without_volumes_ends_in_the_tools_line_and_the_demos(demo, tmp_path, capfd):
    make_parts(tmp_path / "data")
    assert demo.main(["--data=data", "--organ=liver"]) == 2
    tool, ours = capfd.readouterr().err.splitlines()
    assert tool.startswith("normalize_ct_images.py: error: data/imagesTr: no NIfTI file")
    assert ours == f"demo.py: stopped: {REPOSITORY}/normalize_ct_images.py ended with exit status 2"


def test_the_summary_has_the_figures_by_organ_and_every_place(demo, tmp_path):
    folder = Path("demo")
    results = evaluated(folder, organs=("liver", "lung"))
    for organ, dice, iou in (("liver", 0.9123, 0.84), ("lung", 1.0, 0.9999)):
        metrics = {"dice": {"mean": dice}, "iou": {"mean": iou}, "precision": {"mean": None}}
        write_json(folder / "metrics" / f"metrics_{organ}.json", {"metrics": metrics})
    text = demo.summary(demo.Demo(folder, dict.fromkeys(("liver", "lung"), Path()), True, None), results)
    assert text.splitlines() == [
        "organ  Dice   IoU    NoC@90%  geodesic NoC@90%",
        "liver  0.912  0.840  2.50     7.00",
        "lung   1.000  1.000  3.50     8.00",
        "",
        "overview          demo/overview.png",
        "NoC table         demo/results/results.txt",
        "pictures          demo/results/vis/net",
        "masks             demo/results/predictions/net",
        "Dice, IoU, HD95   demo/metrics",
        "slices            demo/datasets",
        "windowed volumes  demo/windowed",
        "",
        "With your own volumes: make demo DATA=path/to/Task09_Spleen ORGAN=spleen",
    ]


# -- the overview


def box(shape, rows, cols):
    mask = np.zeros(shape, bool)
    mask[slice(*rows), slice(*cols)] = True
    return mask


@pytest.mark.parametrize(
    ("shape", "rows", "cols", "shown"),
    [
        # 20 marked rows and a quarter of that on each side are 30; a panel is twice as wide as it is high.
        ((90, 90), (40, 60), (40, 60), ((35, 65), (20, 80))),
        # 20 rows and 80 columns: the width decides, 120 by 60.
        ((200, 200), (90, 110), (60, 140), ((70, 130), (40, 160))),
        # At the border it is moved, not cut ...
        ((90, 90), (0, 20), (70, 90), ((0, 30), (30, 90))),
        # ... and it is cut where the slice is too small.
        ((25, 50), (2, 22), (2, 22), ((0, 25), (0, 50))),
    ],
)
def test_the_view_holds_what_is_marked_in_a_panels_shape(demo, monkeypatch, shape, rows, cols, shown):
    monkeypatch.setattr(demo, "SURROUNDINGS", 0.25)
    monkeypatch.setattr(demo, "PANEL_WIDTH", 2 * demo.PANEL_HEIGHT)
    assert demo.view(box(shape, rows, cols)) == (slice(*shown[0]), slice(*shown[1]))


@pytest.mark.parametrize(
    ("clicks", "captions"),
    [
        (1, ["liver, CT slice", "1 click: IoU 0.50"]),
        (2, ["liver, CT slice", "1 click: IoU 0.50", "2 clicks: IoU 0.61"]),
        (3, ["liver, CT slice", "1 click: IoU 0.50", "2 clicks: IoU 0.61", "3 clicks: IoU 0.62"]),
        (20, ["liver, CT slice", "1 click: IoU 0.50", "2 clicks: IoU 0.61", "20 clicks: IoU 0.79"]),
    ],
)
def test_a_row_has_the_slice_and_the_masks_of_one_two_and_all_clicks(demo, clicks, captions):
    truth = box((60, 80), (20, 40), (30, 50))
    sample = Sample("a", np.zeros((60, 80, 3), np.uint8), truth.astype(np.int8), None)
    ious = [0.5, *(0.6 + number / 100 for number in range(1, 20))]  # more of them than clicks: carried on
    row = demo.panels("liver", sample, [Click(30.0, 40.0, True)] * clicks, [truth] * clicks, ious)
    assert [panel.caption for panel in row] == captions
    assert {panel.picture.shape for panel in row} == {(demo.PANEL_HEIGHT, demo.PANEL_WIDTH, 3)}


def close(pixels, colour, tolerance=40):
    return (abs(pixels.astype(int) - colour) <= tolerance).all(axis=-1)


def test_panels_show_the_mask_the_truth_and_the_clicks_so_far(demo, monkeypatch):
    # What is marked spans 50 columns; with 25 on each side they are all of the slice, at 4 pixels a pixel.
    monkeypatch.setattr(demo, "SURROUNDINGS", 0.5)
    monkeypatch.setattr(demo, "PANEL_WIDTH", 400)
    monkeypatch.setattr(demo, "PANEL_HEIGHT", 400)
    truth = box((100, 100), (30, 70), (30, 70))
    half, spilt = box((100, 100), (30, 70), (30, 50)), box((100, 100), (30, 70), (30, 80))
    sample = Sample("a", np.full((100, 100, 3), 100, np.uint8), truth.astype(np.int8), None)
    clicks = [Click(50.0, 40.0, True), Click(60.0, 60.0, True), Click(50.0, 75.0, False)]
    row = demo.panels("liver", sample, clicks, [half, spilt, truth], [0.5, 0.8, 1.0])
    plain, first, second, last = (panel.picture for panel in row)
    assert (plain == 100).all()

    def at(picture, row, col, down=0, right=0):  # the middle of one of the slice's pixels, or beside it
        return picture[int(4 * (row + 0.5)) + down, int(4 * (col + 0.5)) + right]

    tint = 100 * (1 - 0.35) + np.array(demo.MASK_COLOUR) * 0.35
    for picture, inside, outside in ((first, (35, 45), (35, 55)), (second, (35, 75), (35, 90))):
        assert close(at(picture, *inside), tint, 3)
        assert close(at(picture, *outside), 100, 3)
    assert close(at(last, 35, 75), 100, 3)
    lower_edge = first[4 * 70 - 4 : 4 * 70 + 1]
    assert close(lower_edge[:, 4 * 60], demo.TRUTH_COLOUR).any()
    assert close(lower_edge[:, 4 * 40], demo.MASK_COLOUR).any()

    for picture, shown in ((first, 1), (second, 2), (last, 3)):
        for number, click in enumerate(clicks):
            colour = demo.POSITIVE_COLOUR if click.positive else demo.NEGATIVE_COLOUR
            assert close(at(picture, click.row, click.col, 3, 3), colour) == (number < shown)
    for click in clicks:  # a plus or a minus
        assert close(at(last, click.row, click.col, 0, 2), 255, 80)
        assert close(at(last, click.row, click.col, 2, 0), 255, 80) == click.positive


def test_clicks_beyond_all_masks_shown_are_in_view_where_they_belong(demo):
    truth = box((100, 100), (40, 60), (10, 30))
    sample = Sample("a", np.zeros((100, 100, 3), np.uint8), truth.astype(np.int8), None)
    clicks = [Click(50.0, 20.0, True), Click(50.0, 20.0, True), Click(50.0, 90.0, False)]
    last = demo.panels("liver", sample, clicks, [truth] * 3, [0.9] * 3)[-1].picture
    rows, cols = np.nonzero(close(last, demo.NEGATIVE_COLOUR))
    # All 100 columns are in view, and 80 rows about the object's middle.
    assert rows.mean() == pytest.approx(demo.PANEL_HEIGHT / 2, abs=3)
    assert cols.mean() == pytest.approx(demo.PANEL_WIDTH / 2 + (90.5 - 50) * demo.PANEL_HEIGHT / 80, abs=3)


@pytest.mark.parametrize("shape", [(214, 285), (100, 1000), (1000, 100), (3000, 4000), (1, 1)])
def test_a_picture_of_any_shape_fits_a_panel_undistorted(demo, shape):
    panel = demo.fit(np.full((*shape, 3), 200, np.uint8))
    assert panel.shape == (demo.PANEL_HEIGHT, demo.PANEL_WIDTH, 3)
    rows, cols = (np.flatnonzero((panel == 200).all(axis=2).any(axis=axis)) for axis in (1, 0))
    assert len(rows) == demo.PANEL_HEIGHT or len(cols) == demo.PANEL_WIDTH
    assert len(rows) / len(cols) == pytest.approx(shape[0] / shape[1], rel=0.03)
    for extent, limit in ((rows, demo.PANEL_HEIGHT), (cols, demo.PANEL_WIDTH)):
        assert abs(extent[0] - (limit - 1 - extent[-1])) <= 1


def test_the_grid_is_aligned_and_no_text_overlaps(demo):
    def panel(grey, caption):
        return demo.Panel(np.full((demo.PANEL_HEIGHT, demo.PANEL_WIDTH, 3), grey, np.uint8), caption)

    rows = [
        [
            panel(100 + number, "spleen, CT slice" if number == 0 else "20 clicks: IoU 0.88")
            for number in range(4)
        ],
        [panel(200, "lung, CT slice"), panel(201, "1 click: IoU 0.95")],
    ]
    overview = demo.arrange(rows)
    assert overview.dtype == np.uint8
    assert overview.shape == (578, 1200, 3)
    blank = (overview == demo.BACKGROUND).all(axis=2)
    step = demo.PANEL_HEIGHT + demo.CAPTION_HEIGHT + demo.GAP
    for row in range(2):
        top = demo.GAP + row * step
        for column in range(4):
            left = demo.GAP + column * (demo.PANEL_WIDTH + demo.GAP)
            cell = overview[top : top + demo.PANEL_HEIGHT, left : left + demo.PANEL_WIDTH]
            caption = blank[top + demo.PANEL_HEIGHT : top + step - demo.GAP, left : left + demo.PANEL_WIDTH]
            if column < len(rows[row]):
                assert (cell == rows[row][column].picture).all()
                assert 300 < (~caption).sum() < 0.5 * caption.size
                assert caption[0].all()  # clear of the picture above ...
                assert caption[:, 0].all()
                assert caption[:, -1].all()
            else:
                assert (cell == demo.BACKGROUND).all()
                assert caption.all()
            assert blank[top : top + step - demo.GAP, left - demo.GAP : left].all()
        assert blank[top - demo.GAP : top].all()  # ... and of the next row
    foot = overview[2 * step :]
    for colour in demo.LEGEND.values():
        assert (foot == colour).all(axis=2).any()
    assert blank[2 * step :, -demo.GAP :].all()  # the legend is not cut


def test_the_overview_replays_the_networks_first_samples(demo, tmp_path, network, monkeypatch):
    """Each organ's own clicks, not the baseline's nor another sample's, computed as the evaluation did."""
    threads = torch.get_num_threads()
    folder, organs = tmp_path / "demo", ("lung", "liver")
    results = evaluated(folder, network, organs)
    lines = []
    for organ in organs:
        for number in range(2):
            image, truth = easy_sample(40 + 4 * number)
            save_sample(folder / "datasets" / organ, f"{organ}_{number}", image, truth)
    for model, shift in (("geodesic", -3.0), ("net", 0.0)):
        for organ, iou in (("lung", 0.25), ("liver", 0.75)):
            for number in range(2):
                clicks = [[19.0 + shift, 29.0, True], [2.0, 3.0, False]][: 2 - number]
                lines.append({"model": model, "dataset": organ, "index": number, "clicks": clicks})
                lines[-1]["ious"] = [iou, 0.9][: len(clicks)]
    (folder / "results" / "samples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    seen = []

    def replay(predictor, sample, clicks):
        torch.set_num_threads(2)
        masks = original(predictor, sample, clicks)
        assert torch.get_num_threads() == 1
        torch.set_num_threads(threads)
        seen.append((predictor.size, predictor.flip, predictor.threshold, sample.name, clicks))
        assert all(mask_iou(mask, sample.truth) > 0.85 for mask in masks)
        return masks

    original = demo.replay
    monkeypatch.setattr(demo, "replay", replay)
    monkeypatch.setattr(demo, "arrange", lambda rows: rows)
    made = demo.Demo(folder, dict.fromkeys(organs, Path()), True, None)
    demo.write_config(made)
    rows = demo.draw_overview(made, results)
    clicks = [Click(19.0, 29.0, True), Click(2.0, 3.0, False)]
    assert seen == [(64, False, 0.5, f"{organ}_0", clicks) for organ in organs]
    assert [[panel.caption for panel in row] for row in rows] == [
        ["lung, CT slice", "1 click: IoU 0.25", "2 clicks: IoU 0.90"],
        ["liver, CT slice", "1 click: IoU 0.75", "2 clicks: IoU 0.90"],
    ]


# -- all of it


@pytest.mark.slow
def test_the_whole_job_on_data(demo, tmp_path, network):
    """From volumes to the overview as a user starts it, where an earlier demo has been."""
    labels = np.zeros((48, 40, 3), np.uint8)
    labels[12:36, 10:30, 1:] = 1
    for part, voxels in (("imagesTr", np.where(labels, 200, -50).astype(np.int16)), ("labelsTr", labels)):
        (tmp_path / "data" / part).mkdir(parents=True)
        nib.save(nib.Nifti1Image(voxels, np.diag((2, 2, 5, 1))), tmp_path / "data" / part / "case.nii.gz")
    demo.prepare_folder(tmp_path / "demo", None)
    evaluated(tmp_path / "demo")
    done = shell(
        f"python {shlex.quote(str(SCRIPT))} --data=data --organ=liver --checkpoint=bright.pth", tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^\$ python \S*/(\w+)\.py", done.stdout, re.MULTILINE) == [
        "normalize_ct_images",
        "extraer_imagenes",
        "evaluate_model",
        "metricas",
    ]
    assert done.stdout.endswith("ORGAN=spleen\n")
    assert {path.name for path in tmp_path.iterdir()} == {"data", "bright.pth", "demo"}
    folder = tmp_path / "demo"
    assert (folder / "windowed" / "liver" / "case.nii.gz").is_file()
    (picture,) = (folder / "datasets" / "liver" / "images").iterdir()
    results = demo.read_results(demo.Demo(folder, {}, False, None))
    assert {row["model"] for row in results["results"]} == {"bright", "geodesic"}
    assert results["settings"]["thresh"] == 0.5
    metrics = json.loads((folder / "metrics" / "metrics_liver.json").read_text())["metrics"]
    assert f"liver  {metrics['dice']['mean']:.3f}  {metrics['iou']['mean']:.3f}" in done.stdout
    overview = read_image(folder / "overview.png")
    assert overview.shape[1] == 1200

    # What the overview shows is what was evaluated.
    line = json.loads((folder / "results" / "samples.jsonl").read_text().splitlines()[0])
    assert line["name"] == picture.stem
    dataset = demo.open_dataset("liver", demo.read_config(folder / "config.yml"))
    predictor = predictor_for(load_model(network), dataset, Protocol(**results["settings"]))
    masks = demo.replay(predictor, dataset[0], [Click(*click) for click in line["clicks"]])
    final = read_grey(folder / "results" / "predictions" / "bright" / "liver" / picture.name) > 0
    np.testing.assert_array_equal(masks[-1], final)
    assert [mask_iou(mask, dataset[0].truth) for mask in masks] == line["ious"][: len(masks)]
