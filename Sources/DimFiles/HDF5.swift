import CHDF5
import CSystem
import DimRuntime

/// Access to libhdf5. libhdf5 has global state and Debian's build takes no locks, so every call goes through
/// `exclusively`. The host may use the same libhdf5, so its settings are restored afterwards.
package enum HDF5 {
    private static let lock = Lock()

    /// Has to come before the first call: a handle that libhdf5 leaves open in a damaged file crashed at process exit.
    private static let exitHandlerOff: Bool = H5dont_atexit() >= 0

    /// Bytes that libhdf5 finds free for its caches and buffers, several times what it takes for one array: where it finds none,
    /// it ends the process in some places, or crashes.
    private static let room = 8 << 20

    /// To be asked before libhdf5 is given work, and again where own arrays may have taken the rest.
    static func requireRoom() throws {
        try requireMemory(room)
        guard dim_system_packs_small_blocks() != 0 else {  // Of which libhdf5 asks for thousands.
            throw DimError(.outOfMemory, "out of memory: no room for small blocks")
        }
    }

    /// Changed under the lock alone.
    private final class Flag: @unchecked Sendable {
        var isSet = false
    }

    private static let lacked = Flag()

    /// Whether one of the failures since `exclusively` began, of those that somebody asked the reason of, was for want of memory:
    /// no fault of the file's or of this library's.
    static var lackedMemory: Bool { lacked.isSet }

    /// Runs `body` with libhdf5 to itself, silent, and unable to load filter plugins (a plugin's constructor is code).
    /// All handles that `body` makes must be gone when it returns. Do not nest.
    package static func exclusively<Result>(_ body: () throws -> Result) throws -> Result {
        try lock.whileHeld {
            guard !lock.wasAbandoned else {
                throw DimError(
                    .io,
                    "this process was forked while another thread read or wrote a weights file: libhdf5 cannot be used in it; "
                        + "the functions for untrusted files can, which read in a new process")
            }
            try requireRoom()
            _ = exitHandlerOff
            guard H5open() >= 0 else { throw DimError(.internal, "libhdf5 does not start") }
            lacked.isSet = false
            let host = dim_h5_enter()
            defer { dim_h5_leave(host) }
            return try body()
        }
    }

    /// "1.10.8", of the library that is loaded, not of the headers.
    package static let version: String = {
        var major: UInt32 = 0
        var minor: UInt32 = 0
        var release: UInt32 = 0
        let known = try? exclusively { H5get_libversion(&major, &minor, &release) >= 0 }
        return known == true ? "\(major).\(minor).\(release)" : "unknown"
    }()

    /// libhdf5's innermost reason for the last failure; "" if it has none.
    static var lastReason: String {
        var reason = ""
        withUnsafeMutablePointer(to: &reason) { pointer in
            _ = H5Ewalk2(
                dim_h5_error_stack(), H5E_WALK_UPWARD,
                { _, error, data in
                    if let text = error?.pointee.desc, let data {
                        data.assumingMemoryBound(to: String.self).pointee = String(cString: text)
                    }
                    return 1
                }, pointer)
        }
        if reason.mentions("memory allocation failed") || reason.mentions("unable to allocate") { lacked.isSet = true }
        return reason
    }
}

/// Owns one libhdf5 identifier of any kind and closes it. Keep it in a variable while `id` is in use: of a temporary
/// (`make().id`) the identifier is closed before the call that takes it.
final class HDF5Object {
    let id: hid_t
    private var isOpen = true

    /// nil where the call that made the identifier failed.
    init?(_ id: hid_t) {
        guard id >= 0 else { return nil }
        self.id = id
    }

    deinit { close() }

    /// Closes before the end, for those who want to know whether that went well.
    @discardableResult
    func close() -> Bool {
        defer { isOpen = false }
        return !isOpen || H5Idec_ref(id) >= 0
    }
}
