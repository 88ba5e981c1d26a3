"""Build both examples in place: `pip install cython setuptools`, then `python setup.py build_ext --inplace`."""

from Cython.Build import cythonize
from setuptools import Extension, setup

import llamacffi

include = [llamacffi.get_include()]
setup(
    name="c_api",
    ext_modules=[
        Extension("token_loop", ["token_loop.c"], include_dirs=include),
        *cythonize([Extension("surprise", ["surprise.pyx"], include_dirs=include)]),
    ],
)
