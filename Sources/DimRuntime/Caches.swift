import Glibc

/// Sizes of the processor's caches. How work is divided may depend on them, no result does.
package enum Caches {
    /// Bytes of a core's second-level cache; 0 where the system does not tell.
    package static let secondLevel = max(0, sysconf(Int32(_SC_LEVEL2_CACHE_SIZE)))
}
