/* Memory for small things when there is none left.

   Swift's runtime ends the process where an allocation of its own fails: a closure, a string, an array of ten numbers. The
   library asks for everything large by functions that report failure; this is for the rest. In the link of the library,
   `malloc` and its kin are wrapped (see the Makefile): where the system has no memory, a small block comes from a reserve
   inside the library, so that the call gets as far as its next large block, or to its end, and returns a status.

   Thread-safe without locks, and so in a child after fork() and in a signal handler as well.

   Nothing is declared here: the linker leads every call there. */
