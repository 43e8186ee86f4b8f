import CSystem
import Glibc
import Synchronization

/// Runs the chunks of one parallel loop on a few threads that live as long as the process.
///
/// Why not Dispatch: its `concurrentPerform` aborts in a child after `fork()`, and hosts do fork (Python's
/// `multiprocessing`); it cannot be held to n threads; and its threads take the host's signals. This pool notices a fork
/// and starts anew, holds a limit that can change between loops, and blocks signals in its threads.
///
/// A loop's result must not depend on which thread runs which chunk, nor on their number: callers split work into chunks
/// that depend on the problem alone and reduce in a fixed order.
package final class ThreadPool: @unchecked Sendable {
    private static let maximum = 1024
    private static let spins = 2_000

    /// The body of the loop that runs now: (chunk, worker). Valid while `open`.
    private var body: ((Int, Int) -> Void)?
    private var loopLimit = 0
    private let shares = UnsafeMutableRawPointer.allocate(
        byteCount: ThreadPool.maximum * MemoryLayout<Share>.stride, alignment: 64
    ).bindMemory(to: Share.self, capacity: ThreadPool.maximum)
    private let open = Atomic<Bool>(false)
    /// Workers that have entered the loop and not left it.
    private let inside = Atomic<Int>(0)
    private let generation = Atomic<Int>(0)
    private let sleeping = Atomic<Int>(0)
    private let limit: Atomic<Int>

    /// Held by the caller whose loop runs; others run their loop alone.
    private let loop = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let wake = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var workers = 0
    private let process = getpid()

    private init(limit: Int) {
        self.limit = Atomic(limit)
        pthread_mutex_init(loop, nil)
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(wake, nil)
        for worker in 0..<ThreadPool.maximum { (shares + worker).initialize(to: Share()) }
    }

    // MARK: The shared pool

    private static let current = Guarded<ThreadPool>(ThreadPool(limit: defaultThreads()))

    /// The process's pool. After a fork the child gets a new one: the parent's threads do not exist there.
    package static var shared: ThreadPool {
        current.withLock { pool in
            if pool.process != getpid() {
                // The old pool's mutexes may be held by threads that are gone; it is left behind, never freed.
                _ = Unmanaged.passRetained(pool)
                pool = ThreadPool(limit: pool.threads)
            }
            return pool
        }
    }

    private static let setting = Setting("DIM_NUM_THREADS")
    /// nil if it is no number.
    private static let wanted = setting.value.flatMap { Int($0) }.flatMap { $0 >= 0 ? $0 : nil }

    private static func defaultThreads() -> Int {
        if let wanted, wanted > 0 { return min(wanted, maximum) }
        return cores()
    }

    /// The fault of `DIM_NUM_THREADS`'s value.
    package static var fault: String? {
        setting.value == nil || wanted != nil
            ? nil : setting.fault(expected: "a number, \(maximum) at most, 0 for all cores")
    }

    /// Cores that this process may run on, and that its control group gives it time for. `root`: as `CPUQuota` has it.
    package static func cores(root: String = "") -> Int {
        let allowed = max(1, min(Int(dim_system_allowed_cores()), maximum))
        return min(allowed, CPUQuota.cores(root: root) ?? allowed)
    }

    /// How many threads a loop may use, the caller's own included.
    package var threads: Int { limit.load(ordering: .relaxed) }

    /// 0 = all cores. The caller has checked 0 <= n <= 1024.
    package func setThreads(_ n: Int) {
        limit.store(n == 0 ? ThreadPool.cores() : min(n, ThreadPool.maximum), ordering: .relaxed)
    }

    // MARK: Loops

    /// Calls `body(chunk, worker)` once for every chunk in `0..<count`, in any order, and returns when all are done.
    /// `worker` is in `0..<threads` as `threads` was when the loop began and is no other chunk's at that moment: an index for
    /// scratch memory. Inside a loop, or while another caller's loop runs, the chunks run one after another, as worker 0.
    /// A caller that has scratch memory for so many workers only says so: `threads` may change before the loop begins.
    package func parallel(_ count: Int, workers limit: Int = .max, _ body: (_ chunk: Int, _ worker: Int) -> Void) {
        guard count > 1, count <= Share.most, threads > 1, limit > 1, pthread_mutex_trylock(loop) == 0 else {
            for chunk in 0..<max(count, 0) { body(chunk, 0) }
            return
        }
        startWorkers(min(threads, ThreadPool.maximum) - 1)
        withoutActuallyEscaping(body) { escapable in
            self.body = escapable
            loopLimit = min(threads, limit, workers + 1, ThreadPool.maximum)
            for worker in 0..<loopLimit {
                shares[worker].set(count * worker / loopLimit..<count * (worker + 1) / loopLimit)
            }
            open.store(true, ordering: .sequentiallyConsistent)
            generation.add(1, ordering: .sequentiallyConsistent)
            if sleeping.load(ordering: .sequentiallyConsistent) > 0 {
                pthread_mutex_lock(mutex)
                pthread_cond_broadcast(wake)
                pthread_mutex_unlock(mutex)
            }
            claim(worker: 0, escapable)
            open.store(false, ordering: .sequentiallyConsistent)
            var spins = 0
            while inside.load(ordering: .sequentiallyConsistent) != 0 {
                spins += 1
                if spins > ThreadPool.spins { sched_yield() } else { dim_system_pause() }
            }
            self.body = nil
        }
        pthread_mutex_unlock(loop)
    }

    private func claim(worker: Int, _ body: (Int, Int) -> Void) {
        while let chunk = shares[worker].first() { body(chunk, worker) }
        for distance in 1..<max(loopLimit, 1) {
            let other = (worker + distance) % loopLimit
            while let chunk = shares[other].last() { body(chunk, worker) }
        }
    }

    // MARK: Workers

    private func startWorkers(_ wanted: Int) {
        guard workers < wanted else { return }
        var all = sigset_t()
        var before = sigset_t()
        sigfillset(&all)
        pthread_sigmask(SIG_SETMASK, &all, &before)
        defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        defer { pthread_attr_destroy(&attributes) }
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        pthread_attr_setstacksize(&attributes, 1 << 20)
        while workers < wanted {
            let start = Unmanaged.passRetained(Start(pool: self, index: workers + 1))
            var thread = pthread_t()
            let failed = pthread_create(
                &thread, &attributes,
                { raw in
                    let start = Unmanaged<Start>.fromOpaque(raw!).takeRetainedValue()
                    start.pool.work(start.index)
                    return nil
                }, start.toOpaque())
            guard failed == 0 else {  // fewer threads, the same results
                start.release()
                return
            }
            workers += 1
        }
    }

    private final class Start {
        let pool: ThreadPool
        let index: Int
        init(pool: ThreadPool, index: Int) {
            self.pool = pool
            self.index = index
        }
    }

    private func work(_ index: Int) {
        FloatingPoint.setDefault()
        var seen = 0
        while true {
            awaitGeneration(after: seen)
            seen = generation.load(ordering: .sequentiallyConsistent)
            guard index < threads else { continue }
            inside.add(1, ordering: .sequentiallyConsistent)
            if open.load(ordering: .sequentiallyConsistent), let body, index < loopLimit {
                claim(worker: index, body)
            }
            inside.subtract(1, ordering: .sequentiallyConsistent)
        }
    }

    private func awaitGeneration(after seen: Int) {
        for _ in 0..<ThreadPool.spins {
            if generation.load(ordering: .sequentiallyConsistent) != seen { return }
            dim_system_pause()
        }
        pthread_mutex_lock(mutex)
        sleeping.add(1, ordering: .sequentiallyConsistent)
        while generation.load(ordering: .sequentiallyConsistent) == seen { pthread_cond_wait(wake, mutex) }
        sleeping.subtract(1, ordering: .sequentiallyConsistent)
        pthread_mutex_unlock(mutex)
    }
}

/// The chunks of a loop that one worker has before it and that nobody has begun: its own worker takes them from the front,
/// a worker that has none left from the back.
private struct Share: ~Copyable {
    static let most = Int(Int32.max)

    /// The next chunk in the upper half, the end in the lower.
    private let left = Atomic<UInt64>(0)
    /// A cache line a share.
    private let padding: (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0, 0, 0, 0)

    func set(_ chunks: Range<Int>) {
        left.store(UInt64(chunks.lowerBound) << 32 | UInt64(chunks.upperBound), ordering: .relaxed)
    }

    func first() -> Int? { take { ($0 >> 32, $0 + (1 << 32)) } }

    func last() -> Int? { take { (($0 & 0xffff_ffff) - 1, $0 - 1) } }

    private func take(_ choice: (UInt64) -> (chunk: UInt64, rest: UInt64)) -> Int? {
        var seen = left.load(ordering: .relaxed)
        while seen >> 32 < seen & 0xffff_ffff {
            let (chunk, rest) = choice(seen)
            let (exchanged, now) = left.weakCompareExchange(expected: seen, desired: rest, ordering: .relaxed)
            if exchanged { return Int(chunk) }
            seen = now
        }
        return nil
    }
}
