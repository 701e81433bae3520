"""The virtual machine: what PTX means.

`lowering` flattens a kernel; `decode` turns instructions into operations (tables in `arithmetic`, `access`,
`control`, `warp`, `matrix`, `async_copy`); `launch` runs batches of thread blocks; `scheduler` chooses the
lanes; `memory` and `sanitizer` look for faults.
"""
