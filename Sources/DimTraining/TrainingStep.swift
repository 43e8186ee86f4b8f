import DimArchitecture
import DimKernels
import DimModel
import DimRuntime

/// What every training run shares: gradients that wait, Adam's moments and step, and an update that is all or nothing.
///
/// A step is `accumulate` (forward and backward of one or several micro-batches) and `update`. The running statistics that a
/// forward pass would set wait with the gradients, so that a step which fails leaves the model as it was.
package final class TrainingStep {
    package typealias Callback = (UnsafeMutablePointer<Float>, Int) -> Bool

    let model: Model
    let networks: [Network]
    let gradients: Gradients
    let moments: AdamMoments
    /// How many updates were made.
    package private(set) var count = 0
    private var microBatches: MicroBatches
    /// Of the last update's gradients, before they were clipped.
    package private(set) var gradientNorms: [Network: Double] = [:]
    package var callback: Callback?
    /// Bounds of the moments and of the weights that `installed` holds; nil where they are to be measured.
    private var bounds: AdamBounds?
    /// The states of the last update. If the model holds others now, the bounds do not apply to them.
    private var installed: [Network: WeakState] = [:]
    /// The memory of the weights before the last update: the next update's, where nobody reads them any more.
    private var spare: [Network: [ParameterValue]] = [:]

    private struct WeakState { weak var state: NetworkState? }

    /// The state of a run: what a checkpoint stores and a resumed run starts from.
    package struct Progress {
        package let count: Int
        /// Adam's, of all trainable parameters in schema order.
        package let firstMoment, secondMoment: Buffer

        package init(count: Int, firstMoment: Buffer, secondMoment: Buffer) {
            self.count = count
            self.firstMoment = firstMoment
            self.secondMoment = secondMoment
        }
    }

    /// `passes`: how often a batch norm may see a micro-batch.
    init(
        _ model: Model, _ networks: [Network], from progress: Progress? = nil, microBatches: Int = 1, passes: Int = 1
    ) throws {
        self.model = model
        self.networks = networks
        for network in networks { _ = try model.snapshot(network) }
        gradients = try Gradients(model.architecture, networks, microBatches: microBatches, passes: passes)
        self.microBatches = MicroBatches(gradients, expected: microBatches)
        let size = gradients.trainableCount
        if let progress {
            precondition(progress.firstMoment.count == size && progress.secondMoment.count == size)
            moments = AdamMoments(first: progress.firstMoment, second: progress.secondMoment)
            count = progress.count
        } else {
            moments = AdamMoments(first: try Buffer(zeros: size), second: try Buffer(zeros: size))
        }
    }

    package var progress: Progress {
        Progress(count: count, firstMoment: moments.first, secondMoment: moments.second)
    }

    // MARK: Waiting gradients

    /// Micro-batches that wait, those of other processes included.
    package var waiting: Int { microBatches.count }
    /// Those whose gradients are here.
    package var computed: Int { microBatches.computed }
    /// What is there of a step, for messages.
    package var waitingText: String {
        "an open step (\(computed) micro-batches accumulated, \(waiting - computed) skipped)"
    }

    /// Runs one micro-batch: `body` adds to `gradients` and returns the losses to check and what the running statistics move
    /// by. On an error what waited before is as it was.
    func accumulate(
        _ body: (_ state: (Network) throws -> NetworkState) throws
            -> (losses: [Double], moved: [Network: StatisticSteps])
    ) throws {
        try microBatches.add {
            let (losses, moved) = try body { try self.model.snapshot($0) }
            try requireFinite(losses: losses, "the batch was dropped, the weights are as before")
            return moved
        }
    }

    /// Another process computes the next micro-batch.
    func skip() throws { try microBatches.skip() }

    /// What waits for a trainable parameter of the networks.
    package func copyGradient(_ spec: ParameterSpec, into out: UnsafeMutablePointer<Float>) {
        microBatches.copy(spec, into: out)
    }

    package func clear() { microBatches.clear() }

    // MARK: Update

    /// `options` says which Adam a network's parameters have. The new weights are made beside the old ones, which calls read
    /// meanwhile, and then take their place at once. On an error nothing has changed but that nothing waits any more.
    /// The gradients' Euclidean norm is at most `norm`, where that is over 0: torch.nn.utils.clip_grad_norm_.
    func update(clippedTo norm: Double = 0, _ options: (Network) -> AdamOptions) throws {
        try microBatches.requireComplete()
        defer { clear() }
        let trainable = gradients.trainableCount
        microBatches.sum()
        let isShared = microBatches.areShared
        if isShared { try share() }
        if microBatches.count > 1 { scale(by: 1 / Float(microBatches.count), trainable) }
        try microBatches.moveStatistics { try self.model.snapshot($0) }
        if !isShared, callback != nil { try call(count: gradients.count) }
        let extents = networks.map { extent($0) }
        var whole = extents.reduce(into: Extent()) { $0.add($1) }
        if norm > 0 {
            let factor = Float(norm / (whole.squares.squareRoot() + 1e-6))
            if factor < 1 {
                scale(by: factor, trainable)
                whole.largest *= factor  // Rounding keeps the order: it is the largest of the products.
            }
        }
        // Adam's second moment is a mean of squares: infinity would stay in it for good.
        guard (whole.largest * whole.largest).isFinite else {
            throw DimError(
                .notFinite,
                "a gradient or its square is not finite; the step was not applied, the weights are as before")
        }
        try requireAllowedStatistics()

        let next = count.addingSaturated(1)
        let parts = try networks.map { (state: try model.snapshot($0), step: options($0).step(next)) }
        let after = try boundsAfter(parts, gradient: whole.largest)
        // All that can fail comes before the first change.
        let buffers = try parts.map { try newBuffers($0.state) }
        let moved = try parts.map { try movedStatistics($0.state) }
        var states: [NetworkState] = []
        for (part, (buffers, moved)) in zip(parts, zip(buffers, moved)) {
            moments.update(part.state, gradients, part.step, into: buffers)
            states.append(part.state.replacing(buffers.map { ($0.key, .floats($0.value)) } + moved))
        }
        let old = model.install(states)
        count = next
        gradientNorms = Dictionary(
            uniqueKeysWithValues: zip(networks, extents.map { $0.squares.squareRoot() }))
        bounds = after
        for state in states { installed[state.network] = WeakState(state: state) }
        for state in old { spare[state.network] = state.values }
    }

    /// Throws unless the step leaves all weights and moments finite. The bounds after it, nil where nothing is known of them.
    private func boundsAfter(_ parts: [(state: NetworkState, step: AdamStep)], gradient: Float) throws -> AdamBounds? {
        let isKnown = bounds != nil && parts.allSatisfy { installed[$0.state.network]?.state === $0.state }
        let before = isKnown ? bounds! : try measured(parts.map(\.state))
        var after: AdamBounds? = before
        for part in parts {
            guard let known = after, let next = before.after(part.step, gradient: Double(gradient)) else {
                after = nil
                break
            }
            after = AdamBounds(
                weight: max(known.weight, next.weight), first: max(known.first, next.first),
                second: max(known.second, next.second))
        }
        if let after { return after }
        for part in parts where !(try moments.staysFinite(part.state, gradients, part.step)) {
            throw DimError(
                .notFinite,
                "the step would leave \(part.state.network.prefix) with weights or moments that are not finite; it was not "
                    + "applied, the weights are as before (learning rate, weight decay, or epsilon where gradients are 0)"
            )
        }
        return nil
    }

    private func measured(_ states: [NetworkState]) throws -> AdamBounds {
        var weight: Float = 0
        for state in states {
            for (spec, value) in zip(state.specs, state.values) where spec.isTrainable {
                if case .floats(let buffer) = value { weight = max(weight, try largest(buffer.pointer, spec.count)) }
            }
        }
        return AdamBounds(
            weight: Double(weight), first: Double(try largest(moments.first.pointer, moments.first.count)),
            second: Double(try largest(moments.second.pointer, moments.second.count)))
    }

    /// Memory for the network's trainable parameters, by their index.
    private func newBuffers(_ state: NetworkState) throws -> [Int: Buffer] {
        var old = spare.removeValue(forKey: state.network) ?? []
        var buffers: [Int: Buffer] = [:]
        for (index, spec) in state.specs.enumerated() where spec.isTrainable {
            if old.indices.contains(index), case .floats(var buffer) = old[index] {
                old[index] = .counter(0)  // so that `buffer` is the only reference where nobody shares it
                if isKnownUniquelyReferenced(&buffer) {
                    buffers[index] = buffer
                    continue
                }
            }
            buffers[index] = try Buffer(uninitialized: spec.count)
        }
        return buffers
    }

    /// The statistics and counters that wait, as replacements of the state's values.
    private func movedStatistics(_ state: NetworkState) throws -> [(index: Int, value: ParameterValue)] {
        let batches = microBatches.passes(of: state.network)
        guard batches > 0 else { return [] }
        var changes: [(index: Int, value: ParameterValue)] = []
        for (index, spec) in state.specs.enumerated() where !spec.isTrainable {
            if case .counter(let old) = state.values[index] {
                changes.append((index, .counter(old.addingSaturated(Int64(batches)))))
            } else {
                let waiting = gradients.pointer(state.network, index)
                changes.append((index, .floats(try Buffer(copying: waiting, count: spec.count))))
            }
        }
        return changes
    }

    /// Adds the other processes' micro-batches to those of this one.
    private func share() throws {
        guard callback != nil else {
            throw DimError(
                .invalidArgument,
                "micro-batches were skipped for other processes to compute, but no gradient callback adds those")
        }
        try microBatches.writeRows()
        try call(count: gradients.sharedCount)
        try microBatches.readRows()
    }

    private func call(count: Int) throws {
        guard let callback, !FloatingPoint.callers({ callback(gradients.buffer.pointer, count) }) else { return }
        throw DimError(.cancelled, "the gradient callback stopped the step; the weights are as before")
    }

    static let chunk = 1 << 18

    /// Of a network's waiting gradients: the sum of the squares, and the largest |x|, infinite or NaN where one is.
    private struct Extent {
        var squares = 0.0
        var largest: Float = 0

        mutating func add(_ other: Extent) {
            squares += other.squares
            // NaN is the largest of all.
            if !(other.largest <= largest), !largest.isNaN { largest = other.largest }
        }
    }

    /// In one pass, by chunks of a fixed size.
    private func extent(_ network: Network) -> Extent {
        let entries = gradients.entries(of: network)
        guard let first = entries.first, let last = entries.last else { return Extent() }
        let values = gradients.buffer.pointer + first.offset
        let count = last.offset + last.spec.count - first.offset
        let chunks = (count + TrainingStep.chunk - 1) / TrainingStep.chunk
        return withUnsafeTemporaryAllocation(of: Extent.self, capacity: chunks) { parts in
            let parts = parts.baseAddress!
            ThreadPool.shared.parallel(chunks) { task, _ in
                let from = task * TrainingStep.chunk
                parts[task] = TrainingStep.extent(values + from, min(TrainingStep.chunk, count - from))
            }
            return (0..<chunks).reduce(into: Extent()) { $0.add(parts[$1]) }
        }
    }

    private static func extent(_ values: UnsafePointer<Float>, _ count: Int) -> Extent {
        let whole = count / 16 * 16
        var (even, odd) = (SIMD8<Double>(repeating: 0), SIMD8<Double>(repeating: 0))
        var most = SIMD16<Int32>()
        for i in stride(from: 0, to: whole, by: 16) {
            let x = UnsafeRawPointer(values + i).loadUnaligned(as: SIMD16<Float>.self)
            let (low, high) = (SIMD8<Double>(x.lowHalf), SIMD8<Double>(x.highHalf))
            even += low * low
            odd += high * high
            most = pointwiseMax(most, unsafeBitCast(x, to: SIMD16<Int32>.self) & 0x7fff_ffff)
        }
        var found = Extent(
            squares: (even + odd).sum(), largest: Float(bitPattern: UInt32(bitPattern: most.max())))
        for i in whole..<count {
            found.add(Extent(squares: Double(values[i]) * Double(values[i]), largest: abs(values[i])))
        }
        return found
    }

    private func scale(by factor: Float, _ count: Int) {
        let values = gradients.buffer.pointer
        ThreadPool.shared.parallel((count + TrainingStep.chunk - 1) / TrainingStep.chunk) { task, _ in
            for i in task * TrainingStep.chunk..<min(count, (task + 1) * TrainingStep.chunk) { values[i] *= factor }
        }
    }

    /// Throws unless a model may hold the statistics that the step would set: the callback has had them in its hands.
    private func requireAllowedStatistics() throws {
        for entry in gradients.entries where !entry.spec.isTrainable {
            let values = gradients.buffer.pointer + entry.offset
            guard let fault = ParameterRules.fault(entry.spec, values) else { continue }
            throw DimError(
                ParameterRules.areFinite(values, count: entry.spec.count) ? .invalidArgument : .notFinite,
                "\(fault); the step was not applied, the weights are as before")
        }
    }

    /// The largest |x|; infinite or NaN where one is.
    private func largest(_ values: UnsafePointer<Float>, _ count: Int) throws -> Float {
        let chunks = (count + TrainingStep.chunk - 1) / TrainingStep.chunk
        let results = try Buffer(uninitialized: chunks)
        ThreadPool.shared.parallel(chunks) { task, _ in
            let from = task * TrainingStep.chunk
            results.pointer[task] = ParameterRules.largest(values + from, count: min(TrainingStep.chunk, count - from))
        }
        return ParameterRules.largest(results.pointer, count: chunks)
    }
}

/// Throws unless every pixel is finite.
func requireFinite(_ images: UnsafePointer<Float>, count n: Int, size: Int, _ what: String) throws {
    let kernels = DimKernels.selected
    for image in 0..<n where !kernels.allFinite(images + image * size, size) {
        let at = (0..<size).first { !images[image * size + $0].isFinite } ?? 0
        throw DimError(
            .invalidArgument,
            "\(what) \(image) holds \(images[image * size + at]) at \(at); training expects finite values")
    }
}

func requireFinite(
    losses: [Double], _ message: String = "images or weights are so large that float32 overflows"
) throws {
    guard losses.allSatisfy(\.isFinite) else {
        let values = losses.map { "\($0)" }.joined(separator: ", ")
        throw DimError(.notFinite, "a loss is not finite (\(values)); \(message)")
    }
}
