import DimArchitecture
import DimModel
import DimRuntime
import Glibc

/// The classifier's loss over one batch of labelled images, forward and backward: `LayerClassifierObjective` over any
/// architecture, `FusedClassifierObjective` over that of `FusedPlan`.
protocol ClassifierObjective: AnyObject {
    /// encoded (n, encoded): the classifier alone. Adds its gradients; what its running statistics move by.
    func head(
        _ classifier: NetworkState, encoded: UnsafePointer<Float>, labels: UnsafePointer<Int64>, count n: Int,
        _ loss: ClassifierOptions.Loss, _ gradients: Gradients, _ random: inout MersenneTwister
    ) throws -> (ClassifierResult, [Network: StatisticSteps])

    /// images (n,c,h,w): encoder and classifier together.
    func endToEnd(
        _ encoder: NetworkState, _ classifier: NetworkState, _ images: UnsafePointer<Float>,
        labels: UnsafePointer<Int64>, count n: Int, _ loss: ClassifierOptions.Loss, _ gradients: Gradients,
        _ random: inout MersenneTwister
    ) throws -> (ClassifierResult, [Network: StatisticSteps])

    /// images (n,c,h,w) -> encoded (n, encoded) over the batch's statistics, and the statistics moved: weights stay.
    func encodeWithBatchStatistics(
        _ encoder: NetworkState, _ images: UnsafePointer<Float>, count n: Int,
        into encoded: UnsafeMutablePointer<Float>,
        _ random: inout MersenneTwister
    ) throws -> [(index: Int, value: ParameterValue)]
}

extension Model {
    func makeClassifierObjective() throws -> any ClassifierObjective {
        FusedPlan.computes(architecture) ? FusedClassifierObjective() : try LayerClassifierObjective(plan.layers)
    }
}

/// The mean cross-entropy and the hits of a batch, row by row, in double.
struct ClassifierLoss {
    private let kind: ClassifierOptions.Loss
    private let classes: Int
    private let count: Int
    /// A row, and what it becomes.
    private let row: DoubleBuffer
    private let other: DoubleBuffer
    private var sum = 0.0
    private var correct = 0
    /// The first of the largest logits of the last row, as torch.argmax.
    private(set) var prediction = 0

    init(_ kind: ClassifierOptions.Loss, classes: Int, count: Int) throws {
        self.kind = kind
        self.classes = classes
        self.count = count
        row = try DoubleBuffer(zeros: classes)
        other = try DoubleBuffer(zeros: classes)
    }

    var result: ClassifierResult {
        var result = ClassifierResult()
        result.loss = sum / Double(count)
        result.correct = correct
        result.count = count
        return result
    }

    /// `logit` gives a row's logits; their gradient, until the next row.
    mutating func add(_ label: Int, _ logit: (Int) -> Double) -> UnsafePointer<Double> {
        let (p, q) = (row.pointer, other.pointer)
        for c in 0..<classes { p[c] = logit(c) }
        prediction = 0
        for c in 0..<classes where p[c] > p[prediction] { prediction = c }
        if prediction == label { correct += 1 }
        let ofLabel = p[label]
        let entropy = softmax(p) - ofLabel
        func error(_ probability: Double, _ c: Int) -> Double { (probability - (c == label ? 1 : 0)) / Double(count) }
        switch kind {
        case .logits:
            sum += entropy
            for c in 0..<classes { p[c] = error(p[c], c) }
        case .softmaxTwice:
            for c in 0..<classes { q[c] = p[c] }
            sum += softmax(q) - p[label]
            var inner = 0.0
            for c in 0..<classes {
                q[c] = error(q[c], c)
                inner += p[c] * q[c]
            }
            for c in 0..<classes { p[c] *= q[c] - inner }
        }
        return UnsafePointer(p)
    }

    /// In place; returns the logarithm of the sum of exponentials.
    private func softmax(_ x: UnsafeMutablePointer<Double>) -> Double {
        var top = -Double.infinity
        for c in 0..<classes { top = max(top, x[c]) }
        var total = 0.0
        for c in 0..<classes {
            x[c] = exp(x[c] - top)
            total += x[c]
        }
        for c in 0..<classes { x[c] /= total }
        return top + log(total)
    }
}
