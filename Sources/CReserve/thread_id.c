/* Swift's runtime keeps each thread's number (gettid) for the locks of lazily initialized values, and after fork() the child's
   thread has that of the parent's: where it meets another thread at such a lock, with the first use of any `static let`, both
   wait for ever, since the kernel knows the owner by its right number. So the child forgets it, and the runtime asks anew.

   The variable is the runtime's, a static of an inline function (include/swift/Threading/Impl/Linux/ulock.h), which the linker
   merges by its name, weak as here. Where the runtime is a library of its own (builds with sanitizers, the tests of single
   modules) this is another variable, and without effect. */
#include <pthread.h>

__attribute__((weak)) __thread int dim_runtime_thread_id __asm__("_ZZN5swift14threading_impl5linux13ulock_get_tidEvE3tid");

static void forget(void) { dim_runtime_thread_id = 0; }

__attribute__((constructor)) static void watch_forks(void) { pthread_atfork(NULL, NULL, forget); }
