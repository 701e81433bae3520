"""The virtual machine: what PTX means.

`lowering` flattens a kernel; `decode` turns instructions into operations, by the tables in `arithmetic`,
`access`, `atomics`, `control`, `warp`, `matrix` and `async_copy`; `launch` runs batches of thread blocks;
`scheduler` chooses the lanes; `memory` and `sanitizer` look for faults.
"""
