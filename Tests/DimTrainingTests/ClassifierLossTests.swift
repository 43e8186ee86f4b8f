import DimRuntime
import Glibc
import Testing

@testable import DimTraining

@Suite struct ClassifierLossTests {
    static let classes = 5
    static let rows: [(label: Int, logits: [Double])] = [
        (0, [0.3, -1.2, 2.5, 0.1, 0.2]), (4, [-0.5, 0.4, 0.4, -3, 1.5]), (2, [9, -9, 8, 7, 0]),
    ]

    static func run(_ kind: ClassifierOptions.Loss, _ rows: [(label: Int, logits: [Double])]) throws -> (
        ClassifierResult, gradient: [Double], predictions: [Int]
    ) {
        var loss = try ClassifierLoss(kind, classes: classes, count: rows.count)
        var gradient: [Double] = []
        var predictions: [Int] = []
        for row in rows {
            let found = loss.add(row.label) { row.logits[$0] }
            gradient += (0..<classes).map { found[$0] }
            predictions.append(loss.prediction)
        }
        return (loss.result, gradient, predictions)
    }

    /// Beside the definition.
    @Test func value() throws {
        func crossEntropy(_ x: [Double], _ label: Int) -> Double {
            log(x.reduce(0) { $0 + exp($1) }) - x[label]
        }
        func softmax(_ x: [Double]) -> [Double] { x.map { exp($0) / x.reduce(0) { $0 + exp($1) } } }
        let rows = ClassifierLossTests.rows
        let (once, _, predictions) = try ClassifierLossTests.run(.logits, rows)
        let (twice, _, _) = try ClassifierLossTests.run(.softmaxTwice, rows)
        let expected = rows.reduce(0) { $0 + crossEntropy($1.logits, $1.label) } / 3
        let expectedTwice = rows.reduce(0) { $0 + crossEntropy(softmax($1.logits), $1.label) } / 3
        #expect(abs(once.loss - expected) < 1e-12 && abs(twice.loss - expectedTwice) < 1e-12)
        #expect(predictions == [2, 4, 0] && once.correct == 1 && once.count == 3)
    }

    @Test func firstOfEqualLogitsIsPredicted() throws {
        #expect(try ClassifierLossTests.run(.logits, [(1, [1, 7, 7, 7, 0])]).predictions == [1])
    }

    @Test(arguments: [ClassifierOptions.Loss.logits, .softmaxTwice])
    func gradient(_ kind: ClassifierOptions.Loss) throws {
        let rows = ClassifierLossTests.rows
        let gradient = try ClassifierLossTests.run(kind, rows).gradient
        let step = 1e-5
        for row in rows.indices {
            for c in 0..<ClassifierLossTests.classes {
                func loss(_ move: Double) throws -> Double {
                    var moved = rows
                    moved[row].logits[c] += move
                    return try ClassifierLossTests.run(kind, moved).0.loss
                }
                let quotient = try (loss(step) - loss(-step)) / (2 * step)
                #expect(abs(quotient - gradient[row * ClassifierLossTests.classes + c]) < 1e-9)
            }
        }
    }
}
