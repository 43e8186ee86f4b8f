import CVectors
import DimKernelTypes

// From floats to the words of two bfloat16 that the product reads.

/// A row's neighbours in one word: word q of a row holds x[2q] and, above it, x[2q + 1].
package func pairAlong(_ p: PairedRows) {
    var row = 0
    while row < p.rows {
        let source = p.source + row &* p.sourceRow
        let target = p.target + row &* p.targetRow
        var column = 0
        while column < p.columns {
            dim_store_rounded16(load(source + column), target + column / 2)
            column &+= 16
        }
        row &+= 1
    }
}

/// Two rows' values of a column in one word: row q of the words holds x[2q][j] and, above it, x[2q + 1][j], 0 where the rows
/// end before.
package func pairAcross(_ p: PairedRows) {
    var row = 0
    while row < p.rows {
        let source = p.source + row &* p.sourceRow
        let target = p.target + row / 2 &* p.targetRow
        let isLast = row &+ 1 == p.rows
        var column = 0
        while column < p.columns {
            let second = isLast ? Vector.zero : load(source + (p.sourceRow &+ column))
            store(dim_round_pair16(load(source + column), second), target + column)
            column &+= 16
        }
        row &+= 2
    }
}
