import DimOperators
import DimRuntime
import Glibc

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
    private let workspace = Workspace()
    private let weights = TransientWeights()
    /// nil where the notebook's own kernels serve.
    private let plan: PlanClassifier?
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
        plan = model.architecture.isNotebook ? nil : try PlanClassifier(model.anyPlan)
        classes = model.sizes.classes
        random = MersenneTwister(seed: 0)
        _ = try model.snapshot(.encoder)
        step = try TrainingStep(
            model, options.encoder == .trained ? [.encoder, .classifier] : [.classifier], from: progress)
    }

    package func setLearningRate(_ rate: Double) { options.adam.learningRate = rate }

    // MARK: Steps

    /// images (n,3,32,32), labels (n) in 0..<10, n >= 2.
    package func step(
        _ images: UnsafePointer<Float>, labels: UnsafePointer<Int64>, count n: Int
    ) throws -> ClassifierResult {
        try requireFinite(images, count: n, size: imageSize, "image")
        try requireLabels(labels, n)
        let encoded = try workspace.floats("encoded", n * encodedSize)
        return try model.whileChanging {
            switch options.encoder {
            case .frozen:
                try evaluateEncoder(images, n, into: encoded)
                return try head(encoded, labels, n)
            case .frozenBatchStatistics:
                let state = try model.snapshot(.encoder)
                if let plan {
                    var random = self.random
                    let moved = try plan.encodeWithBatchStatistics(state, images, count: n, into: encoded, &random)
                    let result = try head(encoded, labels, n)
                    model.replace([.encoder: moved])
                    return result
                }
                let weights = try state.prepared { try Encoder.Weights(state) }
                let pass = try Encoder.train(
                    state, weights.source, images: images, count: n, encoded: encoded, workspace)
                let moved = try state.requireAllowed(state.moved(by: Encoder.statisticSteps(state, pass)))
                let result = try head(encoded, labels, n)
                model.replace([.encoder: moved])
                return result
            case .trained:
                return try endToEnd(images, labels, n, encoded)
            }
        }
    }

    /// encoded (n,64) from the frozen encoder.
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
        var result = ClassifierResult()
        var random = self.random
        try step.accumulate { state in
            let classifier = try state(.classifier)
            if let plan = self.plan {
                let (found, moved) = try plan.head(
                    classifier, encoded: encoded, labels: labels, count: n, self.options.loss, self.step.gradients,
                    &random)
                result = found
                return ([found.loss], moved)
            }
            let pass = try Classifier.train(classifier, encoded: encoded, count: n)
            let (found, dLogits) = self.loss(pass.logits, labels, n)
            _ = Classifier.backward(classifier, pass, logitGradient: dLogits, self.step.gradients)
            result = found
            return ([found.loss], [.classifier: Classifier.statisticSteps(classifier, pass)])
        }
        try step.update(moves: [.classifier]) { _ in options.adam }
        self.random = random
        return result
    }

    private func endToEnd(
        _ images: UnsafePointer<Float>, _ labels: UnsafePointer<Int64>, _ n: Int, _ encoded: UnsafeMutablePointer<Float>
    ) throws -> ClassifierResult {
        var result = ClassifierResult()
        var random = self.random
        try step.accumulate { state in
            let encoder = try state(.encoder), classifier = try state(.classifier)
            if let plan = self.plan {
                let (found, moved) = try plan.endToEnd(
                    encoder, classifier, images, labels: labels, count: n, self.options.loss, self.step.gradients,
                    &random)
                result = found
                return ([found.loss], moved)
            }
            let pass = try Encoder.train(
                encoder, self.weights.source, images: images, count: n, encoded: encoded, self.workspace)
            let head = try Classifier.train(classifier, encoded: encoded, count: n)
            let (found, dLogits) = self.loss(head.logits, labels, n)
            let dEncoded = Classifier.backward(classifier, head, logitGradient: dLogits, self.step.gradients)
            let gradient = try self.workspace.floats("encoded gradient", n * Encoder.encoded)
            for i in 0..<dEncoded.count { gradient[i] = Float(dEncoded[i]) }
            let dFeatures = try self.workspace.floats("features gradient", n * Encoder.featuresSize)
            dFeatures.update(repeating: 0, count: n * Encoder.featuresSize)
            try Encoder.backward(
                encoder, pass, self.weights.source, encodedGradient: gradient, featuresGradient: dFeatures,
                self.step.gradients, self.workspace)
            result = found
            return (
                [found.loss],
                [
                    .encoder: Encoder.statisticSteps(encoder, pass),
                    .classifier: Classifier.statisticSteps(classifier, head),
                ]
            )
        }
        try step.update(moves: [.encoder, .classifier]) { _ in options.adam }
        self.random = random
        return result
    }

    // MARK: Evaluation

    /// Evaluation mode. confusion (10,10), row = label, column = prediction, is added to.
    package func evaluate(
        _ images: UnsafePointer<Float>, labels: UnsafePointer<Int64>, count n: Int,
        confusion: UnsafeMutablePointer<UInt64>?
    ) throws -> ClassifierResult {
        try requireFinite(images, count: n, size: imageSize, "image")
        try requireLabels(labels, n)
        if let plan { return try evaluate(plan, images, labels, n, confusion) }
        try requireMemory(n * Classifier.bytesPerImage)
        let classifier = try model.snapshot(.classifier)
        let encoded = try workspace.floats("encoded", n * Encoder.encoded)
        let logits = try workspace.floats("logits", n * Classifier.classes)
        try evaluateEncoder(images, n, into: encoded)
        Classifier.logits(classifier, encoded: encoded, count: n, into: logits)
        let (result, _) = loss((0..<n * Classifier.classes).map { Double(logits[$0]) }, labels, n)
        try requireFinite(losses: [result.loss])
        if let confusion {
            for i in 0..<n {
                let row = (0..<Classifier.classes).map { Double(logits[i * Classifier.classes + $0]) }
                let cell = Int(labels[i]) * Classifier.classes + ClassifierTrainer.largest(row[...])
                confusion[cell] = confusion[cell].addingSaturated(1)
            }
        }
        return result
    }

    private func evaluate(
        _ plan: PlanClassifier, _ images: UnsafePointer<Float>, _ labels: UnsafePointer<Int64>, _ n: Int,
        _ confusion: UnsafeMutablePointer<UInt64>?
    ) throws -> ClassifierResult {
        let encoded = try workspace.floats("encoded", n * encodedSize)
        let logits = try workspace.floats("logits", n * classes)
        try evaluateEncoder(images, n, into: encoded)
        try model.classifierLogits(plan.plan, encoded: encoded, count: n, logits: logits)
        let result = try plan.loss(logits, labels, n, options.loss, gradient: nil)
        try requireFinite(losses: [result.loss])
        if let confusion {
            for i in 0..<n {
                let row = logits + i * classes
                var best = 0
                for c in 0..<classes where row[c] > row[best] { best = c }
                let at = Int(labels[i]) * classes + best
                if confusion[at] < .max { confusion[at] += 1 }
            }
        }
        return result
    }

    private func evaluateEncoder(
        _ images: UnsafePointer<Float>, _ n: Int, into encoded: UnsafeMutablePointer<Float>
    ) throws {
        try model.evaluateEncoder(images, count: n, encoded: encoded, features: nil)
    }

    // MARK: Loss

    /// The mean loss, the hits, and the gradient of the logits (n,10).
    private func loss(
        _ logits: [Double], _ labels: UnsafePointer<Int64>, _ n: Int
    ) -> (ClassifierResult, gradient: [Double]) {
        let classes = Classifier.classes
        var result = ClassifierResult()
        var gradient: [Double] = []
        gradient.reserveCapacity(logits.count)
        for i in 0..<n {
            let row = logits[i * classes..<(i + 1) * classes]
            let label = Int(labels[i])
            let p = ClassifierTrainer.softmax(row)
            switch options.loss {
            case .logits:
                result.loss += ClassifierTrainer.crossEntropy(row, label)
                for c in 0..<classes { gradient.append((p[c] - (c == label ? 1 : 0)) / Double(n)) }
            case .softmaxTwice:
                result.loss += ClassifierTrainer.crossEntropy(p[...], label)
                let q = ClassifierTrainer.softmax(p[...])
                let dp = (0..<classes).map { (q[$0] - ($0 == label ? 1 : 0)) / Double(n) }
                let inner = zip(p, dp).reduce(0) { $0 + $1.0 * $1.1 }
                for c in 0..<classes { gradient.append(p[c] * (dp[c] - inner)) }
            }
            result.correct += ClassifierTrainer.largest(row) == label ? 1 : 0
        }
        result.loss /= Double(n)
        result.count = n
        return (result, gradient)
    }

    private static func softmax(_ x: ArraySlice<Double>) -> [Double] {
        let top = x.max()!
        let e = x.map { exp($0 - top) }
        let total = e.reduce(0, +)
        return e.map { $0 / total }
    }

    /// -log softmax(x)[label]
    private static func crossEntropy(_ x: ArraySlice<Double>, _ label: Int) -> Double {
        let top = x.max()!
        return top + log(x.reduce(0) { $0 + exp($1 - top) }) - x[x.startIndex + label]
    }

    /// The first of the largest, as torch.argmax.
    private static func largest(_ x: ArraySlice<Double>) -> Int {
        var best = x.startIndex
        for i in x.indices where x[i] > x[best] { best = i }
        return best - x.startIndex
    }

    private func requireLabels(_ labels: UnsafePointer<Int64>, _ n: Int) throws {
        for i in 0..<n where !(0..<Int64(classes)).contains(labels[i]) {
            throw DimError(.invalidArgument, "labels[\(i)] is \(labels[i]); expected 0 to \(classes - 1)")
        }
    }
}
