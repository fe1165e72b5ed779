"""The EMC-Click networks: a heavy first stage that runs once and a light correction head for every click."""
