import Glibc
import Synchronization

/// Locks that survive fork(). The child has one thread, the one that forked; what others held there is never released, and
/// what they guarded may be half changed. So:
/// - short sections (`Guarded`) are over before the process is copied: fork waits for those that have begun, at most one for
///   each value that is guarded, and none begins meanwhile. So it waits microseconds, however many threads are busy;
/// - long ones (`Lock`: a training step, a file) are not waited for. Where the child finds such a lock held by a thread that
///   it does not have, it gets a new one and can ask whether that happened.
enum Fork {
    /// Held for reading in every short section, for writing while the process is copied. A writer that waits goes before
    /// readers that come: where readers go first, as is the default, busy threads keep a fork waiting for ever. So sections do
    /// not nest.
    private static let gate: UnsafeMutablePointer<pthread_rwlock_t> = {
        let gate = UnsafeMutablePointer<pthread_rwlock_t>.allocate(capacity: 1)
        initialize(gate)
        pthread_atfork(
            { pthread_rwlock_wrlock(Fork.gate) }, { pthread_rwlock_unlock(Fork.gate) },
            {
                initialize(Fork.gate)
                pthread_mutex_init(Fork.repairs, nil)
                Fork.generations.add(1, ordering: .sequentiallyConsistent)
            })
        return gate
    }()
    private static func initialize(_ gate: UnsafeMutablePointer<pthread_rwlock_t>) {
        var attributes = pthread_rwlockattr_t()
        pthread_rwlockattr_init(&attributes)
        pthread_rwlockattr_setkind_np(&attributes, Int32(PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP))
        pthread_rwlock_init(gate, &attributes)
        pthread_rwlockattr_destroy(&attributes)
    }

    private static let repairs: UnsafeMutablePointer<pthread_mutex_t> = {
        let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
        pthread_mutex_init(mutex, nil)
        return mutex
    }()
    private static let generations = Atomic<Int>(0)

    /// How many forks lie between the first process and this one. The first call makes what the handlers use.
    static var generation: Int {
        _ = (gate, repairs)
        return generations.load(ordering: .sequentiallyConsistent)
    }

    static func throughGate<T>(_ body: () throws -> T) rethrows -> T {
        pthread_rwlock_rdlock(gate)
        defer { pthread_rwlock_unlock(gate) }
        return try body()
    }

    /// One thread at a time.
    static func repairing(_ body: () -> Void) {
        pthread_mutex_lock(repairs)
        defer { pthread_mutex_unlock(repairs) }
        body()
    }
}

private func newMutex(_ kind: Int) -> UnsafeMutablePointer<pthread_mutex_t> {
    let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    var attributes = pthread_mutexattr_t()
    pthread_mutexattr_init(&attributes)
    pthread_mutexattr_settype(&attributes, Int32(kind))
    pthread_mutex_init(mutex, &attributes)
    pthread_mutexattr_destroy(&attributes)
    return mutex
}

/// A mutex that the child of a fork gets anew where a thread that it does not have held it.
private final class ForkedMutex: @unchecked Sendable {
    private let kind: Int
    private var mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let generation = Atomic<Int>(Fork.generation)
    /// Whether that has happened.
    private(set) var wasAbandoned = false

    init(_ kind: Int) {
        self.kind = kind
        mutex = newMutex(kind)
    }

    deinit {
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
    }

    func whileHeld<T>(_ body: () throws -> T) rethrows -> T {
        let held = current()
        pthread_mutex_lock(held)
        defer { pthread_mutex_unlock(held) }
        return try body()
    }

    private func current() -> UnsafeMutablePointer<pthread_mutex_t> {
        if generation.load(ordering: .acquiring) != Fork.generation {
            Fork.repairing {
                // No thread of this process comes past here before: who holds it is none of them.
                guard generation.load(ordering: .acquiring) != Fork.generation else { return }
                if pthread_mutex_trylock(mutex) == 0 {
                    pthread_mutex_unlock(mutex)
                } else {
                    mutex = newMutex(kind)  // the old one is left behind
                    wasAbandoned = true
                }
                generation.store(Fork.generation, ordering: .releasing)
            }
        }
        return mutex
    }
}

/// A value behind a mutex, for sections that are short: a fork waits for them.
///
/// Why not Swift's Mutex: in the child of a fork it ends the process where a thread of the parent held it.
package final class Guarded<Value>: @unchecked Sendable {
    private let mutex = ForkedMutex(PTHREAD_MUTEX_NORMAL)
    private var value: Value

    package init(_ value: Value) { self.value = value }

    /// `body` may not come to another `withLock`. The gate comes last: who waits for the mutex keeps no fork waiting, and where
    /// a fork cuts off the holder at the gate, the value is whole.
    package func withLock<T>(_ body: (inout Value) throws -> T) rethrows -> T {
        try mutex.whileHeld { try Fork.throughGate { try body(&value) } }
    }
}

/// A value that is made at its first use, outside the lock: what makes it may come to other guarded values. Of several threads that
/// make it at once all get the first one's.
package final class MadeAtFirstUse<Value>: @unchecked Sendable {
    private let made = Guarded<Value?>(nil)

    package init() {}

    package func value(_ make: () -> Value) -> Value {
        if let value = made.withLock({ $0 }) { return value }
        let new = make()
        return made.withLock { value in
            if let value { return value }
            value = new
            return new
        }
    }
}

/// A mutex whose holder may sleep for long (a training step, a file) and take it again.
package final class Lock: @unchecked Sendable {
    private let mutex = ForkedMutex(PTHREAD_MUTEX_RECURSIVE)

    package init() {}

    /// Whether a thread that does not exist in this process held the lock when it was forked, and never finished.
    package var wasAbandoned: Bool { mutex.wasAbandoned }

    package func whileHeld<T>(_ body: () throws -> T) rethrows -> T { try mutex.whileHeld(body) }
}
