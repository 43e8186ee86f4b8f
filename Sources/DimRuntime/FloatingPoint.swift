import CSystem

/// The floating-point environment belongs to a thread, and hosts change it: another rounding, subnormal numbers flushed to
/// zero, exceptions that trap. The library computes in one defined environment, in its callers' threads and in its own, so
/// that results depend on none of it, and gives the caller's back.
package enum FloatingPoint {
    /// Runs a call of the library.
    package static func defined<T>(_ body: () throws -> T) rethrows -> T {
        let found = dim_system_floating_point_now()
        let callers = dim_system_callers_floating_point()!
        let outer = callers.pointee  // of a call whose callback makes this one
        callers.pointee = found
        dim_system_set_default_floating_point()
        defer {
            dim_system_set_floating_point(found)
            callers.pointee = outer
        }
        return try body()
    }

    /// Runs the caller's code from inside `defined`, as the caller had it.
    package static func callers<T>(_ body: () throws -> T) rethrows -> T {
        dim_system_set_floating_point(dim_system_callers_floating_point().pointee)
        defer { dim_system_set_default_floating_point() }
        return try body()
    }

    /// For a thread of the library's own, which inherits what its creator had.
    package static func setDefault() { dim_system_set_default_floating_point() }
}
