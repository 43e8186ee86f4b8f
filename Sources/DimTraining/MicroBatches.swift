import DimArchitecture
import DimModel
import DimRuntime

/// The micro-batches of one step: their gradients' sum, and what each adds to the running statistics.
///
/// With a number of them given, gradients add like a binary counter: sums of equally many micro-batches merge at once, the
/// rest from the smallest up at the end. The sum of an aligned part of 2^k micro-batches is then the same bytes in whichever
/// process it is made, and processes that add such sums in pairs get the bytes of one process: docs/distributed.md.
struct MicroBatches {
    private let gradients: Gradients
    /// Of the step: 1 where any number is accumulated and nothing is shared with other processes.
    let expected: Int

    /// Sums that wait, and log2 of how many micro-batches each is of; the smallest is the one in `gradients`.
    private var sums: [(level: Int, buffer: Buffer)] = []
    private var level = 0
    private var unused: [Buffer] = []
    /// Of the micro-batches that were computed here.
    private var steps: [[Network: StatisticSteps]] = []
    /// Micro-batches of other processes before those, and after.
    private var skipped = (before: 0, after: 0)

    init(_ gradients: Gradients, expected: Int) {
        self.gradients = gradients
        self.expected = expected
    }

    var computed: Int { steps.count }
    var count: Int { skipped.before + computed + skipped.after }
    var areShared: Bool { skipped.before + skipped.after > 0 }

    /// How often the network's batch norms have seen the micro-batches, all together.
    func passes(of network: Network) -> Int {
        steps.reduce(0) { sum, step in
            let moved = step[network] ?? []
            return sum + moved.reduce(0) { $0 + ($1.index == moved[0].index ? 1 : 0) }
        }
    }

    // MARK: Collecting

    /// Runs `body`, which adds to the gradients, as the next micro-batch. On an error those before are as they were.
    mutating func add(_ body: () throws -> [Network: StatisticSteps]) throws {
        try requireRoom()
        guard skipped.after == 0 else {
            throw DimError(
                .invalidArgument,
                "expected the micro-batches of one process one after another; \(skipped.after) were skipped after its "
                    + "\(computed)")
        }
        if expected == 1 { return try addInPlace(body) }
        let isFirst = computed == 0
        if !isFirst {
            let fresh = try unused.popLast() ?? Buffer(uninitialized: gradients.buffer.count)
            sums.append((level, gradients.buffer))
            gradients.buffer = fresh
        }
        gradients.clear()
        do {
            steps.append(try body())
        } catch {
            if !isFirst, let (_, buffer) = sums.popLast() {
                unused.append(gradients.buffer)
                gradients.buffer = buffer
            }
            throw error
        }
        level = 0
        while let last = sums.last, last.level == level {
            merge()
            level += 1
        }
    }

    /// Nothing is shared: each term of a gradient is added to the sum that waits, with no other memory than a copy of it.
    private mutating func addInPlace(_ body: () throws -> [Network: StatisticSteps]) throws {
        let kept = computed > 0 ? try Buffer(copying: gradients.buffer.pointer, count: gradients.trainableCount) : nil
        if computed == 0 { gradients.clear() }
        do {
            steps.append(try body())
        } catch {
            if let kept { gradients.buffer.pointer.update(from: kept.pointer, count: kept.count) }
            throw error
        }
    }

    /// Another process computes the next micro-batch.
    mutating func skip() throws {
        try requireRoom()
        guard expected > 1 else {
            throw DimError(
                .invalidArgument,
                "the trainer was made with micro_batches 1: a step of one has none for other processes")
        }
        if computed == 0 { skipped.before += 1 } else { skipped.after += 1 }
    }

    private func requireRoom() throws {
        guard expected == 1 || count < expected else {
            throw DimError(
                .invalidArgument,
                "all \(expected) micro-batches of the step are there (micro_batches): expected an update now")
        }
    }

    mutating func clear() {
        unused += sums.map(\.buffer)
        sums = []
        steps = []
        skipped = (0, 0)
    }

    private mutating func merge() {
        let (_, buffer) = sums.removeLast()
        add(buffer.pointer, to: gradients.buffer.pointer)
        unused.append(buffer)
    }

    private func add(_ values: UnsafePointer<Float>, to sum: UnsafeMutablePointer<Float>) {
        let (count, chunk) = (gradients.trainableCount, TrainingStep.chunk)
        ThreadPool.shared.parallel((count + chunk - 1) / chunk) { task, _ in
            for i in task * chunk..<min(count, (task + 1) * chunk) { sum[i] += values[i] }
        }
    }

    /// The sum over the micro-batches for one parameter.
    func copy(_ spec: ParameterSpec, into out: UnsafeMutablePointer<Float>) {
        guard let entry = gradients.entries.first(where: { $0.spec == spec }) else {
            preconditionFailure("no gradient of \(spec.name)")
        }
        let at = gradients.buffer.pointer + entry.offset
        out.update(from: at, count: spec.count)
        for (_, buffer) in sums.reversed() {
            let other = buffer.pointer + (at - gradients.buffer.pointer)
            for i in 0..<spec.count { out[i] += other[i] }
        }
    }

    // MARK: The end of a step

    /// Throws unless what is there makes a step.
    func requireComplete() throws {
        guard computed > 0 else {
            throw DimError(
                .invalidArgument,
                "nothing to update: no micro-batch was accumulated since the last update"
                    + (count > 0 ? ", \(count) were skipped" : ""))
        }
        guard expected == 1 || count == expected else {
            throw DimError(
                .invalidArgument,
                "\(count) micro-batches were accumulated or skipped; the trainer was made with micro_batches \(expected)"
            )
        }
        guard !areShared || isPowerOfTwo(count) && isPowerOfTwo(computed) && skipped.before % computed == 0 else {
            throw DimError(
                .invalidArgument,
                "micro-batches \(skipped.before) to \(skipped.before + computed - 1) of \(count) are here; processes that "
                    + "share a step expect a power of two of them, in equal parts that are powers of two as well")
        }
    }

    /// The sum of all micro-batches that were computed here is in `gradients`.
    mutating func sum() {
        while !sums.isEmpty { merge() }
    }

    /// The running statistics behind the gradients: the model's, moved by each micro-batch in order.
    func moveStatistics(_ state: (Network) throws -> NetworkState) rethrows {
        for entry in gradients.entries where !entry.spec.isTrainable {
            let running = gradients.buffer.pointer + entry.offset
            running.update(from: try state(entry.spec.network).pointer(entry.index), count: entry.spec.count)
            for step in steps {
                for (index, by) in step[entry.spec.network] ?? [] where index == entry.index {
                    NetworkState.move(running, by: by)
                }
            }
        }
    }

    // MARK: Sharing a step

    /// A 1 for each process that computed it, and three floats for each double.
    static func rowCount(_ statistics: Int, passes: Int) -> Int { 1 + 3 * statistics * passes }

    /// A double's bits as three whole numbers, which floats hold exactly and keep when zeros are added.
    private static let digits: [UInt64] = [22, 22, 20]

    /// What the gradient callback is to add over all processes: zeros for the micro-batches of others.
    func writeRows() throws {
        let trainable = gradients.trainableCount
        let row = MicroBatches.rowCount(gradients.statisticsCount, passes: gradients.passes)
        let rows = gradients.buffer.pointer + trainable
        rows.update(repeating: 0, count: expected * row)
        for (number, step) in steps.enumerated() {
            let own = rows + (skipped.before + number) * row
            own[0] = 1
            for entry in gradients.entries where !entry.spec.isTrainable {
                let found = (step[entry.spec.network] ?? []).filter { $0.index == entry.index }
                guard found.count <= gradients.passes else {
                    throw DimError(.internal, "\(entry.spec.name) moves \(found.count) times in one micro-batch")
                }
                for (pass, moved) in found.enumerated() {
                    let place = own + 1 + 3 * (pass * gradients.statisticsCount + entry.offset - trainable)
                    for (i, value) in moved.step.enumerated() {
                        var bits = value.bitPattern
                        for (digit, width) in MicroBatches.digits.enumerated() {
                            place[3 * i + digit] = Float(bits & (1 << width - 1))
                            bits >>= width
                        }
                    }
                }
            }
        }
    }

    /// From the sums over all processes: the steps of all micro-batches.
    mutating func readRows() throws {
        let trainable = gradients.trainableCount
        let row = MicroBatches.rowCount(gradients.statisticsCount, passes: gradients.passes)
        var all: [[Network: StatisticSteps]] = []
        for number in 0..<expected {
            let values = gradients.buffer.pointer + trainable + number * row
            guard values[0] == 1 else {
                throw DimError(
                    .invalidArgument,
                    "after the gradient callback micro-batch \(number) is there \(values[0]) times, expected once: the "
                        + "callback adds the arrays of all processes; the step was not applied")
            }
            var moved: [Network: StatisticSteps] = [:]
            for pass in 0..<gradients.passes {
                for entry in gradients.entries where !entry.spec.isTrainable {
                    let network = entry.spec.network
                    // As often as in a micro-batch of this process.
                    guard pass * computed < passes(of: network) else { continue }
                    let place = values + 1 + 3 * (pass * gradients.statisticsCount + entry.offset - trainable)
                    let step = try (0..<entry.spec.count).map { i in
                        try MicroBatches.double(place + 3 * i, "\(entry.spec.name) of micro-batch \(number)")
                    }
                    moved[network, default: []].append((entry.index, step))
                }
            }
            all.append(moved)
        }
        steps = all
        skipped = (0, 0)
    }

    private static func double(_ place: UnsafePointer<Float>, _ what: String) throws -> Double {
        var (bits, shift): (UInt64, UInt64) = (0, 0)
        for (digit, width) in digits.enumerated() {
            guard let value = UInt64(exactly: place[digit]), value < 1 << width else {
                throw DimError(
                    .invalidArgument,
                    "the gradient callback left \(place[digit]) in the statistics of \(what); expected the sum of all "
                        + "processes' arrays; the step was not applied")
            }
            bits |= value << shift
            shift += width
        }
        return Double(bitPattern: bits)
    }
}

private func isPowerOfTwo(_ n: Int) -> Bool { n > 0 && n & (n - 1) == 0 }
