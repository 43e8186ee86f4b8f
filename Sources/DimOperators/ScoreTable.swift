import DimRuntime

/// The scores of a batch, (vectors n, slots, locations), contiguous: slot s of vector j holds the scores of one image's
/// locations against vector j. One slot is vector j's own image, the positives; the other slots are the negatives. A global
/// term has one location.
package struct ScoreTable {
    package enum Own {
        /// All pairs of a batch: slots are its images, slot j is vector j's own.
        case diagonal
        /// Slot 0 is the vector's own image; drawn negatives, or a rotated batch, are behind it.
        case first
    }

    package let vectors: Int
    package let slots: Int
    package let locations: Int
    package let own: Own
    /// A part of a batch's table: the number of its first vector, and how many vectors the whole has, which the means are over.
    package let first: Int
    package let all: Int

    /// A measure needs negatives: two slots at least.
    package init(vectors: Int, slots: Int, locations: Int, own: Own) throws {
        guard vectors >= 1, slots >= 2, locations >= 1, own == .first || slots == vectors else {
            throw DimError(
                .invalidArgument,
                "scores: expected 1 vector, 2 slots (own image and negatives) and 1 location or more"
                    + (own == .diagonal ? ", and as many slots as vectors" : "")
                    + ", found \(vectors) vectors, \(slots) slots, \(locations) locations"
                    + (slots == 1 ? "; a batch of one image has no negatives" : ""))
        }
        let (row, overflow1) = slots.multipliedReportingOverflow(by: locations)
        let (count, overflow2) = row.multipliedReportingOverflow(by: vectors)
        guard !overflow1, !overflow2, count <= Int(UInt32.max) else {
            throw DimError(
                .tooLarge,
                "scores: expected at most \(UInt32.max) of them, found \(vectors) x \(slots) x \(locations); "
                    + "use a smaller batch, fewer locations, or drawn negatives")
        }
        self.vectors = vectors
        self.slots = slots
        self.locations = locations
        self.own = own
        first = 0
        all = vectors
    }

    private init(_ whole: ScoreTable, _ range: Range<Int>) {
        (slots, locations, own) = (whole.slots, whole.locations, whole.own)
        (vectors, first, all) = (range.count, whole.first + range.lowerBound, whole.all)
    }

    /// Some of the vectors, whose scores are an array of their own.
    package func part(_ range: Range<Int>) -> ScoreTable { ScoreTable(self, range) }

    package var count: Int { vectors * row }
    /// Of the whole table.
    package var positives: Int { all * locations }
    package var negatives: Int { all * negativesOfVector }
    package var negativesOfVector: Int { (slots - 1) * locations }
    /// Scores of one vector.
    package var row: Int { slots * locations }

    /// Where a vector's own scores start in its row.
    package func ownStart(_ vector: Int) -> Int { own == .diagonal ? (first + vector) * locations : 0 }

    /// A vector's negatives, as two stretches of its row of which one may be empty.
    package func negativeRanges(_ vector: Int) -> (Range<Int>, Range<Int>) {
        let start = ownStart(vector)
        return (0..<start, start + locations..<row)
    }
}
