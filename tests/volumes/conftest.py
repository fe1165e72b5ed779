"""NIfTI files for these tests."""

from tests.nifti_files import (  # noqa: F401 - fixtures
    ct,
    extraer_imagenes,
    normalize_ct_images,
    save,
    set_scaling,
    shared,
)
