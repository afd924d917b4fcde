"""The machine itself: links and processors, read and changed through the kernel's own interfaces."""
