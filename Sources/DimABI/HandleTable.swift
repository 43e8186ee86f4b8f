import DimRuntime

/// The objects of C handles. A handle is a number that is never reused in a process, cast to a pointer: a freed,
/// foreign or mistyped one is detected without touching memory, and a free while another thread works only drops a
/// reference.
enum HandleTable {
    private struct Table {
        var live: [UInt: AnyObject] = [:]
        var next: UInt = 1
    }

    private static let table = Guarded(Table())

    /// Far above any mapped page, below the sign bit: never a real address, so that a stray dereference faults at once.
    private static let base: UInt = 0x4449_4d00_0000_0000

    static func make(_ object: AnyObject) -> OpaquePointer {
        table.withLock { table in
            let handle = base + table.next * 16
            table.next += 1
            table.live[handle] = object
            return OpaquePointer(bitPattern: handle)!
        }
    }

    static func object<T: AnyObject>(_ handle: OpaquePointer?, _ name: String, as type: T.Type = T.self) throws -> T {
        guard let handle else { throw DimError(.invalidHandle, "\(name) is NULL") }
        guard let object = table.withLock({ $0.live[UInt(bitPattern: handle)] }) else {
            throw DimError(.invalidHandle, "\(name) is not a live handle: freed already, or not made by this library")
        }
        guard let typed = object as? T else {
            throw DimError(.invalidHandle, "\(name) is a handle of another kind")
        }
        return typed
    }

    /// Forgets the handle if it is one of type T.
    static func free<T: AnyObject>(_ handle: OpaquePointer?, as type: T.Type) {
        guard let handle else { return }
        let key = UInt(bitPattern: handle)
        // The object is released after the lock: its deinit may take a while.
        _ = table.withLock { table in table.live[key] is T ? table.live.removeValue(forKey: key) : nil }
    }
}
