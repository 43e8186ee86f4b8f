import DimArchitecture
import DimKernels
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
    /// Micro-batches that wait.
    package private(set) var waiting = 0
    /// num_batches_tracked moves by this for each batch norm of the networks whose statistics wait.
    private var batches = 0
    package var callback: Callback?

    /// Where a run stands: what a checkpoint stores and a resumed run starts from.
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

    init(_ model: Model, _ networks: [Network], from progress: Progress? = nil) throws {
        self.model = model
        self.networks = networks
        for network in networks { _ = try model.snapshot(network) }
        gradients = try Gradients(model.architecture, networks)
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

    /// Runs one micro-batch: `body` adds to `gradients` and returns the losses to check and the moved statistics.
    /// On an error what waited before is as it was.
    func accumulate(
        _ body: (_ state: (Network) throws -> NetworkState) throws
            -> (losses: [Double], moved: [Network: [(index: Int, value: ParameterValue)]])
    ) throws {
        // Earlier micro-batches' gradients must survive a failure of this one.
        let kept = waiting > 0 ? try Buffer(copying: gradients.buffer.pointer, count: gradients.buffer.count) : nil
        if waiting == 0 { clear() }
        do {
            let (losses, moved) = try body { try self.movedState($0) }
            try requireFinite(losses: losses, "the batch was dropped, the weights are as before")
            for (network, changes) in moved {
                for case (let index, .floats(let buffer)) in changes {
                    gradients.pointer(network, index).update(from: buffer.pointer, count: buffer.count)
                }
            }
            waiting += 1
            if !moved.isEmpty { batches += 1 }
        } catch {
            if let kept { gradients.buffer.pointer.update(from: kept.pointer, count: kept.count) }
            throw error
        }
    }

    /// What waits for a trainable parameter.
    package func gradient(_ spec: ParameterSpec) -> UnsafePointer<Float> {
        UnsafePointer(gradients.pointer(spec.network, spec.key))
    }

    package func clear() {
        gradients.clear()
        waiting = 0
        batches = 0
    }

    /// The network with the running statistics that wait, if some do: a second micro-batch moves them further.
    private func movedState(_ network: Network) throws -> NetworkState {
        let state = try model.snapshot(network)
        guard batches > 0 else { return state }
        var changes: [(index: Int, value: ParameterValue)] = []
        for (index, spec) in state.specs.enumerated() where spec.role == .runningMean || spec.role == .runningVar {
            changes.append(
                (index, .floats(try Buffer(copying: gradients.pointer(network, spec.key), count: spec.count))))
        }
        return state.replacing(changes)
    }

    // MARK: Update

    /// `options` says which Adam a network's parameters have; nil leaves the network as it is.
    /// The gradients' Euclidean norm is at most `norm`, where that is over 0: torch.nn.utils.clip_grad_norm_.
    func update(
        moves statistics: [Network], clippedTo norm: Double = 0, _ options: (Network) -> AdamOptions?
    ) throws {
        guard waiting > 0 else {
            throw DimError(.invalidArgument, "nothing to update: no micro-batch was accumulated since the last update")
        }
        defer { clear() }
        let trainable = gradients.trainableCount
        if waiting > 1 { scale(by: 1 / Float(waiting), trainable) }
        fillUnmoved(statistics)
        if let callback, !callback(gradients.buffer.pointer, gradients.buffer.count) {
            throw DimError(.cancelled, "the gradient callback stopped the step; the weights are as before")
        }
        guard allUsable() else {
            throw DimError(
                .notFinite,
                "a gradient or its square is not finite; the step was not applied, the weights are as before")
        }
        if norm > 0 {
            let factor = norm / (gradientNorm() + 1e-6)
            if factor < 1 { scale(by: Float(factor), trainable) }
        }
        let before = count
        count = before.addingSaturated(1)
        do {
            try model.mutate(networks) { state in
                if let adam = options(state.network) {
                    self.moments.update(state, self.gradients, adam, step: self.count)
                }
                guard statistics.contains(state.network), self.batches > 0 else { return }
                state.mutate { index, value in
                    let spec = state.specs[index]
                    switch value {
                    case .counter(let old): value = .counter(old.addingSaturated(Int64(self.batches)))
                    case .floats(let buffer) where !spec.isTrainable:
                        buffer.pointer.update(from: self.gradients.pointer(state.network, spec.key), count: spec.count)
                    case .floats: break
                    }
                }
            }
        } catch {
            count = before
            throw error
        }
    }

    /// Running statistics that did not move stand in the array as they are, so that an average over processes keeps them.
    private func fillUnmoved(_ statistics: [Network]) {
        for entry in gradients.entries where !entry.spec.isTrainable {
            if batches > 0, statistics.contains(entry.spec.network) { continue }
            guard let state = try? model.snapshot(entry.spec.network) else { continue }
            (gradients.buffer.pointer + entry.offset).update(
                from: state.pointer(entry.spec.key), count: entry.spec.count)
        }
    }

    private static let chunk = 1 << 18

    /// Of all waiting gradients, summed in chunks of a fixed size.
    private func gradientNorm() -> Double {
        let values = gradients.buffer.pointer
        let count = gradients.trainableCount
        let chunks = (count + TrainingStep.chunk - 1) / TrainingStep.chunk
        let sums = UnsafeMutablePointer<Double>.allocate(capacity: chunks)
        defer { sums.deallocate() }
        ThreadPool.shared.parallel(chunks) { task, _ in
            var sum = 0.0
            for i in task * TrainingStep.chunk..<min(count, (task + 1) * TrainingStep.chunk) {
                sum += Double(values[i]) * Double(values[i])
            }
            sums[task] = sum
        }
        return (0..<chunks).reduce(0) { $0 + sums[$1] }.squareRoot()
    }

    private func scale(by factor: Float, _ count: Int) {
        let values = gradients.buffer.pointer
        ThreadPool.shared.parallel((count + TrainingStep.chunk - 1) / TrainingStep.chunk) { task, _ in
            for i in task * TrainingStep.chunk..<min(count, (task + 1) * TrainingStep.chunk) { values[i] *= factor }
        }
    }

    /// Whether gradients and statistics are finite, and the gradients' squares, too: Adam's second moment is their mean, and
    /// infinity would stay in it for good.
    private func allUsable() -> Bool {
        let gradientCount = gradients.trainableCount
        return all(from: 0, to: gradientCount, DimKernels.selected.squaresFinite)
            && all(from: gradientCount, to: gradients.buffer.count, DimKernels.selected.allFinite)
    }

    private func all(from: Int, to: Int, _ holds: @escaping (UnsafePointer<Float>, Int) -> Bool) -> Bool {
        let chunks = (to - from + TrainingStep.chunk - 1) / TrainingStep.chunk
        let results = UnsafeMutablePointer<Bool>.allocate(capacity: chunks)
        defer { results.deallocate() }
        let values = gradients.buffer.pointer
        ThreadPool.shared.parallel(chunks) { task, _ in
            let start = from + task * TrainingStep.chunk
            results[task] = holds(values + start, min(TrainingStep.chunk, to - start))
        }
        return (0..<chunks).allSatisfy { results[$0] }
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
