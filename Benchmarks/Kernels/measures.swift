import DimOperators
import DimRuntime

/// Every measure with its gradient, at the scores of a batch of 64 with 64 locations and of one with 512.
func benchMeasures(_ wanted: (String) -> Bool) throws {
    for n in [64, 512] {
        let table = try ScoreTable(vectors: n, slots: n, locations: 64, own: .diagonal)
        for measure in Measure.allCases where wanted("measure \(measure.name)") {
            let (scores, gradient) = (try random(table.count), try Buffer(uninitialized: table.count))
            let time = try best {
                _ = try measure.loss(scores.pointer, table, gradient: gradient.pointer, weight: 1)
            }
            let each = time.cpu * 1e9 / Double(table.count)
            print(
                "measure \(measure.name) \(n)x\(n)x64 with gradient: \(decimal(time.wall * 1e3, 3)) ms, "
                    + "\(decimal(each, 3)) ns of a core a score")
        }
    }
}
