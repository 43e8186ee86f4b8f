import Glibc
import Synchronization

/// Locks that survive fork(). The child has one thread, the one that forked; what others held there is never released, and
/// what they guarded may be half changed. So:
/// - short sections (`Guarded`) are over before the process is copied: fork waits for them;
/// - long ones (`Lock`: a training step, a file) are not waited for. Where the child finds such a lock held by a thread that
///   it does not have, it gets a new one and can ask whether that happened.
enum Fork {
    /// Held for reading in every short section, for writing while the process is copied.
    private static let gate: UnsafeMutablePointer<pthread_rwlock_t> = {
        let gate = UnsafeMutablePointer<pthread_rwlock_t>.allocate(capacity: 1)
        pthread_rwlock_init(gate, nil)
        pthread_atfork(
            { pthread_rwlock_wrlock(Fork.gate) }, { pthread_rwlock_unlock(Fork.gate) },
            {
                pthread_rwlock_init(Fork.gate, nil)
                pthread_mutex_init(Fork.repairs, nil)
                Fork.generations.add(1, ordering: .sequentiallyConsistent)
            })
        return gate
    }()
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

/// A value behind a mutex, for sections that are short: a fork waits for them.
///
/// Why not Swift's Mutex: in the child of a fork it ends the process where a thread of the parent held it.
package final class Guarded<Value>: @unchecked Sendable {
    private let mutex = newMutex(PTHREAD_MUTEX_NORMAL)
    private var value: Value

    package init(_ value: Value) {
        _ = Fork.generation
        self.value = value
    }

    deinit {
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
    }

    package func withLock<T>(_ body: (inout Value) throws -> T) rethrows -> T {
        try Fork.throughGate {
            pthread_mutex_lock(mutex)
            defer { pthread_mutex_unlock(mutex) }
            return try body(&value)
        }
    }
}

/// A mutex whose holder may sleep for long (a training step, a file) and take it again.
package final class Lock: @unchecked Sendable {
    private var mutex = newMutex(PTHREAD_MUTEX_RECURSIVE)
    private let generation = Atomic<Int>(Fork.generation)
    /// Whether a thread that does not exist in this process held the lock when it was forked, and never finished.
    package private(set) var wasAbandoned = false

    package init() {}

    deinit {
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
    }

    package func whileHeld<T>(_ body: () throws -> T) rethrows -> T {
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
                    mutex = newMutex(PTHREAD_MUTEX_RECURSIVE)  // the old one is left behind
                    wasAbandoned = true
                }
                generation.store(Fork.generation, ordering: .releasing)
            }
        }
        return mutex
    }
}
