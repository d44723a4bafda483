#!/usr/bin/python3
"""zip_tree.py DIR FILE: DIR as a zip with modes and symbolic links, as zip -ry makes it."""
import os
import sys
import zipfile

top, out = sys.argv[1:]
with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z:
    for where, dirs, files in os.walk(top):
        for name in sorted(dirs + files):
            path = os.path.join(where, name)
            info = zipfile.ZipInfo(os.path.relpath(path, top))
            info.external_attr = os.lstat(path).st_mode << 16
            info.create_system = 3
            if os.path.islink(path):
                z.writestr(info, os.readlink(path))
            elif os.path.isdir(path):
                info.filename += "/"
                z.writestr(info, "")
            else:
                with open(path, "rb") as f:
                    z.writestr(info, f.read(), zipfile.ZIP_DEFLATED)
