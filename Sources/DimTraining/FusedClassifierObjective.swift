import DimArchitecture
import DimModel
import DimRuntime

/// Over the networks of `FusedPlan`, whose classifier works in double.
final class FusedClassifierObjective: ClassifierObjective {
    private let arena = Arena()
    private let weights = TransientWeights()

    func head(
        _ classifier: NetworkState, encoded: UnsafePointer<Float>, labels: UnsafePointer<Int64>, count n: Int,
        _ loss: ClassifierOptions.Loss, _ gradients: Gradients, _ random: inout MersenneTwister
    ) throws -> (ClassifierResult, [Network: StatisticSteps]) {
        let (result, moved, _) = try step(classifier, encoded, labels, n, loss, gradients)
        return (result, [.classifier: moved])
    }

    /// Adds the classifier's gradients; the encoded vectors'.
    private func step(
        _ classifier: NetworkState, _ encoded: UnsafePointer<Float>, _ labels: UnsafePointer<Int64>, _ n: Int,
        _ kind: ClassifierOptions.Loss, _ gradients: Gradients
    ) throws -> (ClassifierResult, StatisticSteps, encodedGradient: [Double]) {
        let classes = FusedClassifier.classes
        let pass = try FusedClassifier.train(classifier, encoded: encoded, count: n)
        var loss = try ClassifierLoss(kind, classes: classes, count: n)
        var logitGradient: [Double] = []
        logitGradient.reserveCapacity(n * classes)
        for i in 0..<n {
            let gradient = loss.add(Int(labels[i])) { pass.logits[i * classes + $0] }
            for c in 0..<classes { logitGradient.append(gradient[c]) }
        }
        let dEncoded = FusedClassifier.backward(classifier, pass, logitGradient: logitGradient, gradients)
        return (loss.result, FusedClassifier.statisticSteps(pass), dEncoded)
    }

    func endToEnd(
        _ encoder: NetworkState, _ classifier: NetworkState, _ images: UnsafePointer<Float>,
        labels: UnsafePointer<Int64>, count n: Int, _ loss: ClassifierOptions.Loss, _ gradients: Gradients,
        _ random: inout MersenneTwister
    ) throws -> (ClassifierResult, [Network: StatisticSteps]) {
        let encoded = try arena.floats(.encoded, n * FusedEncoder.encoded)
        let pass = try FusedEncoder.train(encoder, weights.source, images: images, count: n, encoded: encoded, arena)
        let (result, moved, dEncoded) = try step(classifier, encoded, labels, n, loss, gradients)
        let gradient = try arena.floats(.encodedGradient, n * FusedEncoder.encoded)
        for i in 0..<dEncoded.count { gradient[i] = Float(dEncoded[i]) }
        let dFeatures = try arena.floats(.featuresGradient, n * FusedEncoder.featuresSize)
        dFeatures.update(repeating: 0, count: n * FusedEncoder.featuresSize)
        try FusedEncoder.backward(
            encoder, pass, weights.source, encodedGradient: gradient, featuresGradient: dFeatures, gradients, arena)
        return (result, [.encoder: FusedEncoder.statisticSteps(pass), .classifier: moved])
    }

    func encodeWithBatchStatistics(
        _ encoder: NetworkState, _ images: UnsafePointer<Float>, count n: Int,
        into encoded: UnsafeMutablePointer<Float>,
        _ random: inout MersenneTwister
    ) throws -> [(index: Int, value: ParameterValue)] {
        let kept = try FusedPlan.encoderWeights(encoder)
        let pass = try FusedEncoder.train(encoder, kept.source, images: images, count: n, encoded: encoded, arena)
        return try encoder.moved(by: FusedEncoder.statisticSteps(pass))
    }
}
