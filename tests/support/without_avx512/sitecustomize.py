"""Hides AVX-512 from vLLM in every process that has this folder on PYTHONPATH: it takes its kernels for AVX2 instead.

So the failure of a checkpoint that needs AVX-512 can be had on a machine that has it. vLLM asks torch.cpu, once.
"""

import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder


class _Hiding(MetaPathFinder):
    """Finds torch.cpu as it is found anyway, and answers no for it."""

    def find_spec(self, name, path, target=None):
        if name != "torch.cpu":
            return None
        spec = PathFinder.find_spec(name, path)
        load = spec.loader.exec_module

        def exec_module(module):
            load(module)
            for asked in ("_is_avx512_supported", "_is_avx512_bf16_supported", "_is_amx_tile_supported"):
                setattr(module, asked, lambda: False)

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, _Hiding())
