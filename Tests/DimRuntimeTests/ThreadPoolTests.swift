import DimRuntime
import Glibc
import Synchronization
import Testing

private func seconds() -> Double {
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    return Double(now.tv_sec) + Double(now.tv_nsec) / 1e9
}

@Suite("loops of the thread pool", .serialized)
struct ThreadPoolTests {
    @Test("every chunk is run once, by a worker that has no other meanwhile", arguments: [1, 2, 3, 8, 64])
    func once(threads: Int) {
        let pool = ThreadPool.shared
        let before = pool.threads
        defer { pool.setThreads(before) }
        pool.setThreads(threads)
        let runs = UnsafeMutablePointer<Atomic<Int>>.allocate(capacity: 1000)
        let busy = UnsafeMutablePointer<Atomic<Int>>.allocate(capacity: threads)
        for i in 0..<1000 { (runs + i).initialize(to: Atomic(0)) }
        for i in 0..<threads { (busy + i).initialize(to: Atomic(0)) }
        defer {
            runs.deallocate()
            busy.deallocate()
        }
        for count in [0, 1, 2, 3, 7, 63, 64, 65, 1000] {
            for limit in [1, 2, Int.max] {
                let shared = Atomic(0)
                pool.parallel(count, workers: limit) { chunk, worker in
                    runs[chunk].add(1, ordering: .relaxed)
                    if worker >= min(threads, limit) || busy[worker].exchange(1, ordering: .acquiringAndReleasing) != 0
                    {
                        shared.add(1, ordering: .relaxed)
                    }
                    busy[worker].store(0, ordering: .releasing)
                }
                let faults = shared.load(ordering: .relaxed)
                #expect(faults == 0)
                let found = (0..<1000).map { runs[$0].exchange(0, ordering: .relaxed) }
                #expect(found == (0..<1000).map { $0 < count ? 1 : 0 })
            }
        }
    }

    /// The first chunk of the caller's, and then the first of the other worker's, lasts until all others are done: they have to be taken
    /// from the share of the one that waits.
    @Test("a worker without chunks takes those of another", arguments: [0, 4])
    func taken(waiting: Int) {
        let pool = ThreadPool.shared
        let before = pool.threads
        defer { pool.setThreads(before) }
        pool.setThreads(2)
        let done = Atomic(0)
        let late = Atomic(false)
        let deadline = seconds() + 60
        pool.parallel(8) { chunk, _ in
            while chunk == waiting, done.load(ordering: .relaxed) < 7 {
                if seconds() > deadline {
                    late.store(true, ordering: .relaxed)
                    break
                }
                sched_yield()
            }
            done.add(1, ordering: .relaxed)
        }
        let (isLate, all) = (late.load(ordering: .relaxed), done.load(ordering: .relaxed))
        #expect(!isLate && all == 8)
    }
}
