import DimArchitecture
import DimKernels
import DimOperators
import DimRuntime

/// Which images' locations a vector is scored against. Slot s of vector j is image `image(j, s)`.
package struct Pairs {
    package let vectors: Int
    package let slots: Int
    /// Row j holds vector j's images, its own first; nil where each vector is scored against every image, in their order.
    package let images: [Int]?

    /// Every vector against every image.
    package static func all(_ n: Int, images: Int? = nil) -> Pairs {
        Pairs(vectors: n, slots: images ?? n, images: nil)
    }
    /// Every vector against its own image alone.
    package static func own(_ n: Int) -> Pairs { Pairs(vectors: n, slots: 1, images: Array(0..<n)) }
    /// Every vector against its own image and the next one's: M'_i = M_((i+1) mod n).
    package static func rotation(_ n: Int) -> Pairs {
        Pairs(vectors: n, slots: 2, images: (0..<n).flatMap { [$0, ($0 + 1) % n] })
    }

    /// Every vector against its own image and k others, drawn without replacement: the first k places of a Fisher-Yates
    /// shuffle of the other images in their order, place s exchanged with place s + (32 random bits mod what is left).
    package static func drawn(_ n: Int, k: Int, _ random: inout MersenneTwister) -> Pairs {
        var images: [Int] = []
        images.reserveCapacity(n * (k + 1))
        for j in 0..<n {
            var others = Array(0..<n)
            others.remove(at: j)
            images.append(j)
            for s in 0..<k {
                let chosen = s + Int(random.next() % UInt32(others.count - s))
                others.swapAt(s, chosen)
                images.append(others[s])
            }
        }
        return Pairs(vectors: n, slots: k + 1, images: images)
    }

    package func image(_ vector: Int, _ slot: Int) -> Int { images.map { $0[vector * slots + slot] } ?? slot }

    package func table(locations: Int) throws -> ScoreTable {
        try ScoreTable(
            vectors: vectors, slots: slots, locations: locations, own: images == nil ? .diagonal : .first)
    }

    /// How many scores there are.
    package func count(locations: Int) throws -> Int {
        let (pairs, first) = vectors.multipliedReportingOverflow(by: slots)
        let (count, second) = pairs.multipliedReportingOverflow(by: locations)
        guard !first, !second, count <= 1 << 34 else {
            throw DimError(
                .tooLarge, "\(vectors) vectors x \(slots) images x \(locations) locations are more scores than 2^34")
        }
        return count
    }
}

/// A score network: tells at each location of a map whether map and vector come from one image. The global score is the
/// same with one location.
package final class PairHead: @unchecked Sendable {
    package enum Kind {
        /// Both sides through networks of their own to vectors of `units`, then the dot product times `scale`.
        case dot(map: Stack, vector: Stack, scale: Float)
        /// A network over cat(M, y), whose first layer factors: W cat(M, y) = W_M M + W_y y. What depends on y alone is
        /// computed once a vector, what depends on M once an image, whatever the number of pairs.
        case concat(
            map: Stack?, firstMap: PatchConvolution, firstVector: PatchConvolution, weight: Int, bias: Int, rest: Stack?
        )
    }

    /// A head's memory.
    package enum Slot: Int, CaseIterable {
        case scores, scoreGradients, rows, packed, a, p, da, dp, hidden, dHidden, mapGradient, scratch
    }

    package let network: Network
    /// The map that the head reads, and the vector.
    package let map: MapShape
    package let vector: MapShape
    /// Where scores are: the map's own height and width, or one place for the global score.
    package let grid: MapShape
    package let kind: Kind
    package let slots: BufferSlots<Slot>

    package init(
        _ network: Network, map: MapShape, vector: MapShape, grid: MapShape, kind: Kind, _ slots: inout SlotCounter
    ) {
        self.network = network
        self.map = map
        self.vector = vector
        self.grid = grid
        self.kind = kind
        self.slots = slots.take()
    }

    package var locations: Int { grid.pixels }
    package var stacks: [Stack] {
        switch kind {
        case .dot(let map, let vector, _): [map, vector]
        case .concat(let map, _, _, _, _, let rest): [map, rest].compactMap { $0 }
        }
    }

    /// What a concat head has behind its first layer, but for heads of one layer.
    fileprivate var rest: Stack? {
        if case .concat(_, _, _, _, _, let rest) = kind { rest } else { nil }
    }

    /// Whether weights packed for evaluation serve training mode as well.
    var trainsAlike: Bool {
        guard stacks.allSatisfy(\.trainsAlike) else { return false }
        guard case .concat(_, let map, let vector, _, _, _) = kind else { return true }
        return map.trainsAlike && vector.trainsAlike
    }
}

/// A head's weights, packed.
package final class PairHeadWeights {
    package let stacks: [StackWeights]
    private let firstForward: [Buffer]
    private let firstGradient: [Buffer]
    private let firstBias: Buffer?
    private let head: PairHead
    package let direction: PatchConvolution.Direction
    package let precision: Precision

    package init(
        _ head: PairHead, _ direction: PatchConvolution.Direction = .training, precision: Precision = .float32,
        withGradient: Bool = true
    ) throws {
        self.head = head
        self.direction = direction
        self.precision = precision
        // What comes behind a concat head's first layer runs for some pairs at a time, forward and backward in turn.
        stacks = try head.stacks.map {
            let runsOnce = $0 !== head.rest
            return try StackWeights(
                $0, direction, precision: precision,
                gradientWeights: !withGradient ? .none : runsOnce ? .instead : .beside)
        }
        guard case .concat(_, let map, let vector, _, _, _) = head.kind else {
            (firstForward, firstGradient, firstBias) = ([], [], nil)
            return
        }
        firstForward = try [map, vector].map { try Buffer(uninitialized: $0.packedCount(direction)) }
        firstGradient =
            withGradient ? try [map, vector].map { try Buffer(uninitialized: $0.packedCount(.dataGradient)) } : []
        firstBias = try Buffer(zeros: Activation.blocks(vector.output.channels) * 16)
    }

    package func prepare(_ state: NetworkState) {
        stacks.forEach { $0.prepare(state) }
        guard case .concat(_, let map, let vector, let weight, let bias, _) = head.kind else { return }
        for (index, part) in [map, vector].enumerated() {
            part.pack(state.pointer(weight), direction, precision: precision, into: firstForward[index].pointer)
            if !firstGradient.isEmpty {
                part.pack(
                    state.pointer(weight), .dataGradient, precision: precision, into: firstGradient[index].pointer)
            }
        }
        firstBias?.pointer.update(from: state.pointer(bias), count: vector.output.channels)
    }

    package static func prepared(
        _ head: PairHead, _ state: NetworkState, training: Bool
    ) throws -> PairHeadWeights {
        let training = training && !head.trainsAlike
        return try state.prepared(training ? .packedForTraining : .packed) {
            let weights = try PairHeadWeights(head, training ? .training : .forward, withGradient: false)
            weights.prepare(state)
            return weights
        }
    }

    package func first(_ index: Int) -> UnsafePointer<Float> { UnsafePointer(firstForward[index].pointer) }
    package func firstForGradient(_ index: Int) -> UnsafePointer<Float> { UnsafePointer(firstGradient[index].pointer) }
    package var bias: UnsafePointer<Float>? { firstBias.map { UnsafePointer($0.pointer) } }
}

/// One run of a head over a batch's maps and vectors.
package final class PairHeadPass {
    package let head: PairHead
    package let state: NetworkState
    package let weights: PairHeadWeights
    package let arena: Arena
    package let map: Activation
    package let vector: Activation
    package let pairs: Pairs
    package let passes: [StackPass]
    /// Whether a backward pass has begun: the next block's gradients are added.
    private var hasBegun = false
    /// Of a dot head.
    private var mapVectorsGradient: Activation?
    /// Of a concat head's vectors: the gradients behind its first layer, (block, vectors, 16).
    private var vectorSums: DoubleBuffer?

    private var images: Int { map.images }
    private var vectors: Int { vector.images }

    /// Scores that are held at once, about.
    package static let scoresInFlight = 1 << 22

    /// The vectors in blocks: their scores against all their images are never held for all of them where they are many. Depends
    /// on the batch alone. `scoredOnce`: the caller takes each block's scores and their gradients in turn; then a concat head's
    /// blocks are small enough for `backward` to find what `scores` computed.
    package func blocks(
        _ scoresInFlight: Int = PairHeadPass.scoresInFlight, scoredOnce: Bool = false
    ) -> [Range<Int>] {
        var each = max(32, scoresInFlight / max(1, images * head.locations) / 32 * 32)
        if case .concat = head.kind, scoredOnce, pairs.slots <= pairsInFlight {
            each = min(each, pairsInFlight / pairs.slots)
        }
        return stride(from: 0, to: vectors, by: each).map { $0..<min(vectors, $0 + each) }
    }

    /// Runs forward up to what a map or a vector alone decides.
    package init(
        _ head: PairHead, _ state: NetworkState, _ weights: PairHeadWeights, map: Activation, vector: Activation,
        _ pairs: Pairs, training: Bool, _ arena: Arena, _ random: inout MersenneTwister
    ) throws {
        self.head = head
        self.state = state
        self.weights = weights
        self.arena = arena
        self.map = map
        self.vector = vector
        self.pairs = pairs
        passes = zip(head.stacks, weights.stacks).map { StackPass($0, state, $1, arena, training: training) }
        _ = try pairs.count(locations: head.locations)
        switch head.kind {
        case .dot:
            _ = try passes[0].forward(map, &random)
            _ = try passes[1].forward(vector, &random)
        case .concat(let map, _, _, _, _, _): try forwardConcat(map, &random)
        }
    }

    /// Scores (block's vectors, slots, locations), contiguous, until the next block's are asked for.
    package func scores(_ block: Range<Int>) throws -> UnsafeMutablePointer<Float> {
        let scores = try floats(.scores, block.count * pairs.slots * head.locations)
        switch head.kind {
        case .dot(_, _, let scale): try scoresDot(scale, block, into: scores)
        case .concat: try scoresConcat(block, into: scores)
        }
        return scores
    }

    private func floats(_ slot: PairHead.Slot, _ count: Int) throws -> UnsafeMutablePointer<Float> {
        try arena.floats(head.slots[slot], count)
    }

    private func activation(_ slot: PairHead.Slot, _ shape: MapShape, _ images: Int) throws -> Activation {
        try arena.activation(head.slots[slot], shape, images: images)
    }

    /// What the batch adds to the running statistics.
    package func statisticSteps() -> StatisticSteps { passes.flatMap { $0.statisticSteps() } }

    /// All scores, (vectors, slots, locations).
    package func storeScores(into target: UnsafeMutablePointer<Float>) throws {
        let row = pairs.slots * head.locations
        for block in blocks() {
            (target + block.lowerBound * row).update(from: try scores(block), count: block.count * row)
        }
    }

    /// Takes the gradients of a block's scores, which are used up. Each block once, then `finish`.
    package func backward(
        _ block: Range<Int>, _ scoreGradients: UnsafeMutablePointer<Float>, _ gradients: any GradientTarget
    ) throws {
        switch head.kind {
        case .dot(_, _, let scale): try backwardDot(block, scoreGradients, scale)
        case .concat:
            try backwardConcat(pairs: block.lowerBound * pairs.slots..<block.upperBound * pairs.slots, gradients) {
                [locations = head.locations, slots = pairs.slots] _, from, count, dOut in
                let source = scoreGradients + (from - block.lowerBound * slots) * locations
                for r in 0..<count * locations { dOut.pointer[r * 16] = source[r] }
            }
        }
    }

    /// To the gradients of the parameters, of the vectors and of the map (all added).
    package func finish(vectorGradient: Activation, mapGradient: Activation, _ gradients: any GradientTarget) throws {
        switch head.kind {
        case .dot:
            try passes[0].backward(mapVectorsGradient!, into: mapGradient, accumulate: true, gradients)
            try passes[1].backward(
                try activation(.p, vectorVectors.shape, vectors), into: vectorGradient, accumulate: true, gradients)
        case .concat(let map, _, _, let weight, let bias, _):
            try finishConcat(map, weight, bias, vectorGradient, mapGradient, gradients)
        }
    }

    // MARK: Dot

    private var mapVectors: Activation { passes[0].outputs[passes[0].stack.nodes.last!.index]! }
    private var vectorVectors: Activation { passes[1].outputs[passes[1].stack.nodes.last!.index]! }
    /// The distance of a row's scores where these are (row, vector).
    private func rowStride(_ block: Range<Int>) -> Int { (block.count + 31) / 32 * 32 }

    /// S(r, j) = scale f_r . v_j: one product over all pairs; where fewer are wanted they are picked out of it.
    private func scoresDot(_ scale: Float, _ block: Range<Int>, into scores: UnsafeMutablePointer<Float>) throws {
        let (f, v) = (mapVectors, vectorVectors)
        let depth = f.blocks * 16
        let stride = rowStride(block)
        let packed = try floats(.packed, stride * depth)
        pack(v, block, into: packed)
        let locations = head.locations
        let workers = ThreadPool.shared.threads
        let rows = try floats(.rows, workers * locations * stride)
        let (images, pairs) = (images, pairs)
        ThreadPool.shared.parallel(images, workers: workers) { image, worker in
            let own = rows + worker * locations * stride
            for from in Swift.stride(from: 0, to: depth, by: PairHeadPass.chain) {
                let k = min(PairHeadPass.chain, depth - from)
                DimKernels.selected.gemm(
                    Gemm(
                        rows: locations, columns: stride, depth: k,
                        a: f.block(from / 16) + image * locations * 16, aRow: 16, aBlock: f.blockStride,
                        b: packed + from * 32, bPanel: depth * 32, c: own, cRow: stride, accumulate: from > 0))
            }
            for i in 0..<locations * stride { own[i] *= scale }
            if pairs.images == nil {
                BlockedLayout.transpose(
                    own, rows: locations, columns: block.count, stride: stride, into: scores + image * locations,
                    stride: images * locations)
            } else {
                for j in block {
                    for s in 0..<pairs.slots where pairs.image(j, s) == image {
                        let target = scores + ((j - block.lowerBound) * pairs.slots + s) * locations
                        for l in 0..<locations { target[l] = own[l * stride + j - block.lowerBound] }
                    }
                }
            }
        }
    }

    /// Sums longer than this are cut, so that float32 keeps its digits.
    private static let chain = 512

    /// Panels of 32 of the block's vectors, each (unit, 32); zero past the last one.
    private func pack(_ v: Activation, _ block: Range<Int>, into packed: UnsafeMutablePointer<Float>) {
        let depth = v.blocks * 16
        ThreadPool.shared.parallel(rowStride(block) / 32) { panel, _ in
            let target = packed + panel * depth * 32
            let count = min(32, block.count - panel * 32)
            if count < 32 { target.update(repeating: 0, count: depth * 32) }
            for units in 0..<v.blocks {
                BlockedLayout.transpose(
                    v.block(units) + (block.lowerBound + panel * 32) * 16, rows: count, columns: 16, stride: 16,
                    into: target + units * 16 * 32, stride: 32)
            }
        }
    }

    private func backwardDot(
        _ block: Range<Int>, _ scoreGradients: UnsafeMutablePointer<Float>, _ scale: Float
    ) throws {
        let (f, v) = (mapVectors, vectorVectors)
        let (images, locations, pairs) = (images, head.locations, pairs)
        let rows = images * locations
        // Both (vector, row) and (row, vector): each of the two products reads one of them along its rows.
        var byVector = scoreGradients
        if pairs.images != nil {
            byVector = try floats(.scoreGradients, block.count * rows)
            byVector.update(repeating: 0, count: block.count * rows)
            for j in block {
                let line = byVector + (j - block.lowerBound) * rows
                for s in 0..<pairs.slots {
                    let target = line + pairs.image(j, s) * locations
                    let source = scoreGradients + ((j - block.lowerBound) * pairs.slots + s) * locations
                    for l in 0..<locations { target[l] += source[l] }
                }
            }
        }
        let stride = rowStride(block)
        let byRow = try floats(.rows, rows * stride)
        ThreadPool.shared.parallel(images) { image, _ in
            let own = byRow + image * locations * stride
            for j in 0..<block.count {
                let line = byVector + j * rows + image * locations
                for l in 0..<locations { line[l] *= scale }
            }
            BlockedLayout.transpose(
                byVector + image * locations, rows: block.count, columns: locations, stride: rows, into: own,
                stride: stride)
        }
        // In the place of f where no other block reads it.
        let isFree = block.count == vectors && passes[0].stack.nodes.last!.outputIsFree
        let df = isFree ? f : try activation(.a, f.shape, images)
        mapVectorsGradient = df
        let dv = try activation(.p, v.shape, vectors)
        let accumulate = hasBegun
        ThreadPool.shared.parallel(v.blocks / 2) { panel, _ in
            for from in Swift.stride(from: 0, to: rows, by: PairHeadPass.chain) {
                DimKernels.selected.gemm(
                    Gemm(
                        rows: block.count, columns: 32, depth: min(PairHeadPass.chain, rows - from),
                        a: byRow + from * stride, aRow: 1, aStep: stride, aBlock: 16 * stride,
                        b: f.block(2 * panel) + from * 16, bRow: 16, bHalf: f.blockStride, bPanel: 2 * f.blockStride,
                        c: dv.block(2 * panel) + block.lowerBound * 16, cRow: 16, cHalf: dv.blockStride,
                        cPanel: 2 * dv.blockStride, accumulate: from > 0))
            }
        }
        ThreadPool.shared.parallel(images) { image, _ in
            DimKernels.selected.gemm(
                Gemm(
                    rows: locations, columns: v.blocks * 16, depth: block.count, a: byVector + image * locations,
                    aRow: 1, aStep: rows, aBlock: 16 * rows, b: v.pointer + block.lowerBound * 16, bRow: 16,
                    bHalf: v.blockStride, bPanel: 2 * v.blockStride, c: df.pointer + image * locations * 16, cRow: 16,
                    cHalf: df.blockStride, cPanel: 2 * df.blockStride, accumulate: accumulate))
        }
        hasBegun = true
    }

    // MARK: Concat

    /// Rows of hidden activations in flight.
    private static let rowsInFlight = 4096
    private var pairsInFlight: Int { max(1, PairHeadPass.rowsInFlight / head.locations) }
    /// The pairs whose hidden activations are in the arena, and the last layer's output for them.
    private var inFlight: (pairs: Range<Int>, output: Activation)?

    private var concat: (firstMap: PatchConvolution, firstVector: PatchConvolution) {
        guard case .concat(_, let map, let vector, _, _, _) = head.kind else {
            preconditionFailure("not a concat head")
        }
        return (map, vector)
    }
    private var rest: StackPass? { head.rest == nil ? nil : passes.last }
    private var hidden: MapShape {
        MapShape(channels: concat.firstMap.output.channels, height: head.grid.height, width: head.grid.width)
    }

    private func forwardConcat(_ mapStack: Stack?, _ random: inout MersenneTwister) throws {
        let (firstMap, firstVector) = concat
        let m = mapStack == nil ? map : try passes[0].forward(map, &random)
        let a = try activation(.a, firstMap.output, images)
        let p = try activation(.p, firstVector.output, vectors)
        let scratch = try firstScratch()
        let precision = weights.precision
        firstMap.forward(
            m, packed: weights.first(0), weights.direction, precision: precision, into: a, scratch: scratch)
        firstVector.forward(
            vector, packed: weights.first(1), weights.direction, precision: precision, bias: weights.bias, into: p,
            scratch: scratch)
    }

    private func firstScratch() throws -> WorkerScratch {
        let (firstMap, firstVector) = concat
        let count = max(firstMap.scratch(images: images), firstVector.scratch(images: vectors))
        return WorkerScratch(try floats(.scratch, count), count: count)
    }

    private func scoresConcat(_ block: Range<Int>, into scores: UnsafeMutablePointer<Float>) throws {
        let first = block.lowerBound * pairs.slots
        try forEachOutput(pairs: first..<block.upperBound * pairs.slots) { out, from, count in
            let target = scores + (from - first) * self.head.locations
            for r in 0..<count * self.head.locations { target[r] = out.pointer[r * 16] }
        }
    }

    /// The last layer's outputs for a range of pairs, some at a time.
    package func forEachOutput(pairs range: Range<Int>, _ body: (Activation, _ from: Int, _ count: Int) throws -> Void)
        throws
    {
        var unused = MersenneTwister(seed: 0)  // no dropout in these networks
        for from in stride(from: range.lowerBound, to: range.upperBound, by: pairsInFlight) {
            let count = min(pairsInFlight, range.upperBound - from)
            try body(try hiddenForward(from, count, &unused), from, count)
        }
    }

    /// The last layer's output for pairs from ..< from + count, which may be there already.
    private func hiddenForward(_ from: Int, _ count: Int, _ random: inout MersenneTwister) throws -> Activation {
        if let inFlight, inFlight.pairs == from..<from + count { return inFlight.output }
        inFlight = nil
        let a = try activation(.a, concat.firstMap.output, images)
        let p = try activation(.p, concat.firstVector.output, vectors)
        let h = try activation(.hidden, hidden, count)
        let (locations, pairs) = (head.locations, pairs)
        let activates = rest != nil
        ThreadPool.shared.parallel(count) { pair, _ in
            let (j, s) = ((from + pair) / pairs.slots, (from + pair) % pairs.slots)
            let image = pairs.image(j, s)
            for block in 0..<h.blocks {
                let x = a.block(block) + image * locations * 16
                let y = UnsafeRawPointer(p.block(block) + j * 16).loadUnaligned(as: SIMD16<Float>.self)
                let out = h.block(block) + pair * locations * 16
                for l in 0..<locations {
                    let sum = UnsafeRawPointer(x + l * 16).loadUnaligned(as: SIMD16<Float>.self) + y
                    UnsafeMutableRawPointer(out + l * 16).storeBytes(
                        of: activates ? sum.replacing(with: 0, where: sum .< 0) : sum, as: SIMD16<Float>.self)
                }
            }
        }
        let output = try rest?.forward(h, &random) ?? h
        inFlight = (from..<from + count, output)
        return output
    }

    /// `fill` writes the gradient of the outputs of pairs from ..< from + count, which is 0 at first.
    package func backwardConcat(
        pairs range: Range<Int>, _ gradients: any GradientTarget,
        _ fill: (_ out: Activation, _ from: Int, _ count: Int, _ gradient: Activation) throws -> Void
    ) throws {
        let da = try activation(.da, concat.firstMap.output, images)
        if !hasBegun { Elementwise.clear(da) }
        let blocks = Activation.blocks(concat.firstVector.output.channels)
        let sums = try vectorSums ?? DoubleBuffer(zeros: blocks * vectors * 16)
        vectorSums = sums
        try forEachOutput(pairs: range) { out, from, count in
            let dOut = try self.activation(.packed, out.shape, count)
            Elementwise.clear(dOut)
            try fill(out, from, count, dOut)
            var dh = dOut
            if let rest = self.rest {
                dh = try self.activation(.dHidden, self.hidden, count)
                try rest.backward(dOut, into: dh, gradients)
                Elementwise.reluGradient(try self.activation(.hidden, self.hidden, count), dh)
            }
            self.inFlight = nil  // The backward pass writes over it.
            self.spread(dh, from, count, da, sums.pointer)
        }
        hasBegun = true
    }

    private func finishConcat(
        _ mapStack: Stack?, _ weight: Int, _ bias: Int, _ vectorGradient: Activation, _ mapGradient: Activation,
        _ gradients: any GradientTarget
    ) throws {
        let (firstMap, firstVector) = concat
        let da = try activation(.da, firstMap.output, images)
        let dp = try activation(.dp, firstVector.output, vectors)
        store(vectorSums!.pointer, dp, bias: gradients.pointer(head.network, bias))
        let m = mapStack == nil ? map : passes[0].outputs[passes[0].stack.nodes.last!.index]!
        let scratch = try firstScratch()
        let w = gradients.pointer(head.network, weight)
        let precision = weights.precision
        firstMap.weightGradient(m, da, precision: precision, into: w, bias: nil, scratch: scratch)
        firstVector.weightGradient(vector, dp, precision: precision, into: w, bias: nil, scratch: scratch)
        firstVector.dataGradient(
            dp, packed: weights.firstForGradient(1), precision: precision, into: vectorGradient, accumulate: true,
            scratch: scratch)
        if mapStack == nil {
            firstMap.dataGradient(
                da, packed: weights.firstForGradient(0), precision: precision, into: mapGradient, accumulate: true,
                scratch: scratch)
        } else {
            let dm = try activation(.mapGradient, m.shape, images)
            firstMap.dataGradient(
                da, packed: weights.firstForGradient(0), precision: precision, into: dm, accumulate: false,
                scratch: scratch)
            try passes[0].backward(dm, into: mapGradient, accumulate: true, gradients)
        }
    }

    /// Adds a pair's gradient to its image's and, summed over locations, to its vector's: pair after pair, a task a block of
    /// channels, so that the order does not depend on threads. Positives and negatives all but cancel in a vector's sum, over
    /// slots x locations terms: it is kept in double, (block, vectors, 16).
    private func spread(
        _ dh: Activation, _ from: Int, _ count: Int, _ da: Activation, _ sums: UnsafeMutablePointer<Double>
    ) {
        let (locations, pairs, kernels) = (head.locations, pairs, DimKernels.selected)
        ThreadPool.shared.parallel(dh.blocks) { block, _ in
            for pair in 0..<count {
                let (j, s) = ((from + pair) / pairs.slots, (from + pair) % pairs.slots)
                let x = dh.block(block) + pair * locations * 16
                kernels.add(x, da.block(block) + pairs.image(j, s) * locations * 16, locations * 16)
                kernels.addRowSums(x, locations, sums + (block * pairs.vectors + j) * 16)
            }
        }
    }

    /// The vectors' sums as floats, and their sum, over all vectors before any rounding, added to the bias's gradient.
    private func store(_ sums: UnsafePointer<Double>, _ dp: Activation, bias: UnsafeMutablePointer<Float>) {
        for block in 0..<dp.blocks {
            let from = sums + block * vectors * 16
            for i in 0..<vectors * 16 { dp.block(block)[i] = Float(from[i]) }
            for lane in 0..<max(0, min(16, dp.shape.channels - block * 16)) {
                let sum = (0..<vectors).reduce(0.0) { $0 + from[$1 * 16 + lane] }
                bias[block * 16 + lane] += Float(sum)
            }
        }
    }
}
