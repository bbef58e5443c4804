"""XLA's flags for tests, in which compiling is most of the work, and what is compiled runs on a few numbers.

XLA's own passes remain, LLVM is spared. This takes an eighth of the time.
"""

QUICKLY = (
    "--xla_backend_optimization_level=0",
    "--xla_cpu_use_fusion_emitters=false",
    "--xla_cpu_parallel_codegen_split_count=1",
)
