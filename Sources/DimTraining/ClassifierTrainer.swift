import DimArchitecture
import DimModel
import DimRuntime

package struct ClassifierOptions: Equatable {
    package enum EncoderUse: Equatable {
        /// As it is, in evaluation mode.
        case frozen
        /// Weights fixed, batch statistics: what the linked implementation does.
        case frozenBatchStatistics
        /// End to end.
        case trained
    }

    package enum Loss: Equatable {
        /// Cross-entropy of the logits.
        case logits
        /// Cross-entropy of the softmax output taken as logits: what the linked implementation does.
        case softmaxTwice
    }

    package var encoder = EncoderUse.frozen
    package var loss = Loss.logits
    package var adam = AdamOptions()

    package init() {}
}

package struct ClassifierResult {
    package var loss = 0.0
    package var correct = 0
    package var count = 0

    package init() {}
}

/// Trains the classifier on labelled images, alone or together with the encoder: the linked implementation's evaluation.
///
/// Not for two threads at once: the API boundary holds `lock` around each call.
package final class ClassifierTrainer: @unchecked Sendable {
    package let classes: Int
    package let lock = Lock()
    package let model: Model
    package private(set) var options: ClassifierOptions
    package let step: TrainingStep
    private let objective: any ClassifierObjective
    /// The vectors of a call's images.
    private let encodedBuffer = ScratchBuffer()
    /// What dropout draws from.
    package var random: MersenneTwister

    private var imageSize: Int { model.sizes.image.size }
    private var encodedSize: Int { model.sizes.encoded }

    package convenience init(_ model: Model, _ options: ClassifierOptions) throws {
        try self.init(resuming: model, options, nil)
    }

    /// Continues where a checkpoint stopped.
    package init(resuming model: Model, _ options: ClassifierOptions, _ progress: TrainingStep.Progress?) throws {
        self.model = model
        self.options = options
        objective = try model.makeClassifierObjective()
        classes = model.sizes.classes
        random = MersenneTwister(seed: 0)
        _ = try model.snapshot(.encoder)
        step = try TrainingStep(
            model, options.encoder == .trained ? [.encoder, .classifier] : [.classifier], from: progress)
    }

    package func setLearningRate(_ rate: Double) { options.adam.learningRate = rate }

    // MARK: Steps

    /// images (n,c,h,w), labels (n) in 0 ..< classes, n >= 2.
    package func step(
        _ images: UnsafePointer<Float>, labels: UnsafePointer<Int64>, count n: Int
    ) throws -> ClassifierResult {
        try requireFinite(images, count: n, size: imageSize, "image")
        try requireLabels(labels, n)
        let encoded = try encodedBuffer.floats(n * encodedSize)
        return try model.whileChanging {
            switch options.encoder {
            case .frozen:
                try model.evaluateEncoder(images, count: n, EncodedOutputs(encoded: encoded))
                return try head(encoded, labels, n)
            case .frozenBatchStatistics:
                let state = try model.snapshot(.encoder)
                var random = self.random
                let moved = try objective.encodeWithBatchStatistics(
                    state, images, count: n, into: encoded, &random)
                let result = try head(encoded, labels, n)
                model.replace([.encoder: moved])
                return result
            case .trained:
                return try endToEnd(images, labels, n)
            }
        }
    }

    /// encoded (n, encoded) from the frozen encoder.
    package func step(
        encoded: UnsafePointer<Float>, labels: UnsafePointer<Int64>, count n: Int
    ) throws -> ClassifierResult {
        guard options.encoder == .frozen else {
            throw DimError(
                .invalidArgument, "encoded vectors can be given only where the encoder is DIM_ENCODER_FROZEN")
        }
        try requireFinite(encoded, count: n, size: encodedSize, "encoded vector")
        try requireLabels(labels, n)
        return try model.whileChanging { try head(encoded, labels, n) }
    }

    /// A step of the classifier alone.
    private func head(
        _ encoded: UnsafePointer<Float>, _ labels: UnsafePointer<Int64>, _ n: Int
    ) throws -> ClassifierResult {
        try update([.classifier]) { states, random in
            try self.objective.head(
                states[0], encoded: encoded, labels: labels, count: n, self.options.loss,
                self.step.gradients, &random)
        }
    }

    private func endToEnd(
        _ images: UnsafePointer<Float>, _ labels: UnsafePointer<Int64>, _ n: Int
    ) throws -> ClassifierResult {
        try update([.encoder, .classifier]) { states, random in
            try self.objective.endToEnd(
                states[0], states[1], images, labels: labels, count: n, self.options.loss,
                self.step.gradients, &random)
        }
    }

    /// Forward, backward and Adam of these networks; the random stream moves where all of it succeeds.
    private func update(
        _ networks: [Network],
        _ compute: (_ states: [NetworkState], _ random: inout MersenneTwister) throws
            -> (ClassifierResult, [Network: StatisticSteps])
    ) throws -> ClassifierResult {
        var result = ClassifierResult()
        var random = self.random
        try step.accumulate { state in
            let (found, moved) = try compute(try networks.map(state), &random)
            result = found
            return ([found.loss], moved)
        }
        try step.update { _ in options.adam }
        self.random = random
        return result
    }

    // MARK: Evaluation

    /// Evaluation mode. confusion (classes, classes), row = label, column = prediction, is added to.
    package func evaluate(
        _ images: UnsafePointer<Float>, labels: UnsafePointer<Int64>, count n: Int,
        confusion: UnsafeMutablePointer<UInt64>?
    ) throws -> ClassifierResult {
        try requireFinite(images, count: n, size: imageSize, "image")
        try requireLabels(labels, n)
        let encoded = try encodedBuffer.floats(n * encodedSize)
        try model.evaluateEncoder(images, count: n, EncodedOutputs(encoded: encoded))
        let logits = try Buffer(uninitialized: n * classes)
        try model.evaluateClassifier(encoded: encoded, count: n, logits: logits.pointer)
        var loss = try ClassifierLoss(options.loss, classes: classes, count: n)
        var cells: [Int] = []
        try requireMemory(n * MemoryLayout<Int>.stride)
        cells.reserveCapacity(n)
        for i in 0..<n {
            let row = logits.pointer + i * classes
            _ = loss.add(Int(labels[i])) { Double(row[$0]) }
            cells.append(Int(labels[i]) * classes + loss.prediction)
        }
        let result = loss.result
        try requireFinite(losses: [result.loss])
        if let confusion {
            for cell in cells { confusion[cell] = confusion[cell].addingSaturated(1) }
        }
        return result
    }

    private func requireLabels(_ labels: UnsafePointer<Int64>, _ n: Int) throws {
        for i in 0..<n where !(0..<Int64(classes)).contains(labels[i]) {
            throw DimError(.invalidArgument, "labels[\(i)] is \(labels[i]); expected 0 to \(classes - 1)")
        }
    }
}
