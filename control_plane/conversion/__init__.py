"""Converts the files of other tools into a `ctl.toml`, and a configuration into files of theirs.

One module a format. An importer reads a file into `model.Imported`, which `toml` writes; an exporter makes
texts of the settings. Only `reading` and `javascript` touch the file system or another process.
"""
