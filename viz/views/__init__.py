"""One picture a module, from a cell, a run or a tape; no layout, no colours and no files of their own."""
