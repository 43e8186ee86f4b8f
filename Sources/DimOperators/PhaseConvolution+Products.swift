import DimArchitecture
import DimKernels
import DimRuntime

// The forward pass and the data gradient: transform windows, multiply channels by channels at every point, transform back.
// As in ConvolutionWinograd.swift, V is a thread's own, or of a block of few tiles shared by the threads, and M is a thread's own,
// of a part of the tiles and one or two panels of 32 channels.

extension PhaseConvolution {
    /// Tiles of a part at most: 6 tiles of 13 rows of a product.
    private static let largestPart = 78
    /// Rows from which two panels pay: more than a tile of one panel has.
    private static let manyRows = 14
    /// U in floats that stays in the third-level cache, so that parts may be small.
    private static let smallWeights = 1_200_000
    /// V in floats, at most: of a thread of its own in the second-level cache, or beside it where U is large and few tiles would
    /// wait for it; of all in the third.
    private static let largestOwnV = 180_000
    private static let largestOwnVOfLargeWeights = 600_000
    private static let largestV = 2_200_000
    /// Tiles from which a part pays for reading U by itself: one, and two tiles of a product.
    private static let fewestTiles = 13
    private static let fewestTilesOfLargeWeights = 26

    private struct Schedule {
        let shared: Bool
        let block: Int
        let part: Int
        /// Panels of M.
        let panels: Int
        let v: Int
        let m: Int
    }

    /// Panels of 32 outputs that a product computes at once: as many as its tile has, where rows are many.
    private func panelsAtOnce(_ pass: Pass, _ part: Int) -> Int {
        part >= PhaseConvolution.manyRows ? min(pass.panels, kernels.columnsAtOnce / 32) : 1
    }

    /// Tiles of V and of M at most, for V in the second-level and in the third-level cache.
    private func limits(_ pass: Pass, _ tiles: Int) -> (own: Int, block: Int) {
        let floats = points * pass.depth
        let ownV =
            hasSmallWeights(pass) ? PhaseConvolution.largestOwnV : PhaseConvolution.largestOwnVOfLargeWeights
        return (
            min(tiles, max(13, min(PhaseConvolution.largestPart, ownV / floats))),
            min(tiles, max(13, PhaseConvolution.largestV / floats))
        )
    }

    private func hasSmallWeights(_ pass: Pass) -> Bool {
        pass.panels * weightPanelStride(pass.depth) <= PhaseConvolution.smallWeights
    }

    private func schedule(_ pass: Pass, _ tiles: Int) -> Schedule {
        let (own, most) = limits(pass, tiles)
        let threads = ThreadPool.shared.threads
        let fewest =
            hasSmallWeights(pass) ? PhaseConvolution.fewestTiles : PhaseConvolution.fewestTilesOfLargeWeights
        if own >= fewest, tiles >= threads * fewest {
            let part = equalPiece(of: tiles, atMost: own, threads: threads)
            let panels = panelsAtOnce(pass, part)
            return Schedule(
                shared: false, block: part, part: part, panels: panels, v: count(pass.blocks, part),
                m: count(2 * panels, part))
        }
        let block = equalPiece(of: tiles, atMost: most)
        let part = equalPiece(of: block, atMost: PhaseConvolution.largestPart)
        var panels = panelsAtOnce(pass, part)
        // No fewer tasks than the threads share well.
        if (pass.panels + panels - 1) / panels * ((block + part - 1) / part) < 4 * threads { panels = 1 }
        return Schedule(
            shared: true, block: block, part: part, panels: panels, v: count(pass.blocks, block),
            m: count(2 * panels, part))
    }

    /// Enough for fewer images, and whatever the number of threads is by then.
    private func scratch(_ pass: Pass, images: Int) -> Int {
        let tiles = images * pass.tiles
        let (own, most) = limits(pass, tiles)
        return max(
            workers * (count(pass.blocks, own) + count(2 * panelsAtOnce(pass, own), own)),
            count(pass.blocks, most) + workers
                * count(2 * panelsAtOnce(pass, most), min(most, PhaseConvolution.largestPart)))
    }

    func forwardScratch(images: Int) -> Int { scratch(forwardPass, images: images) }
    func dataGradientScratch(images: Int) -> Int {
        dataGradientPasses.reduce(0) { max($0, scratch($1, images: images)) }
    }

    func forward(
        _ x: Activation, packed: UnsafePointer<Float>, _ epilogue: Epilogue, into y: Activation,
        scratch: WorkerScratch
    ) {
        run(Call(self, forwardPass, x, y, packed, epilogue, accumulate: false), scratch)
    }

    func dataGradient(
        _ dy: Activation, packed: UnsafePointer<Float>, into dx: Activation, accumulate: Bool,
        scratch: WorkerScratch
    ) {
        for pass in dataGradientPasses {
            run(Call(self, pass, dy, dx, packed, Epilogue(), accumulate: accumulate), scratch)
        }
    }

    private struct Call {
        let pass: Pass
        let x: Activation
        let y: Activation
        let weights: UnsafePointer<Float>
        let epilogue: Epilogue
        let accumulate: Bool
        /// The ranges of k that are not 0, of each point.
        let terms: [[Range<Int>]]

        init(
            _ c: PhaseConvolution, _ pass: Pass, _ x: Activation, _ y: Activation, _ packed: UnsafePointer<Float>,
            _ epilogue: Epilogue, accumulate: Bool
        ) {
            (self.pass, self.x, self.y, self.epilogue, self.accumulate) = (pass, x, y, epilogue, accumulate)
            weights = packed + c.packedOffset(pass)
            terms = (0..<c.points).map { point in
                if let phase = pass.phase { return c.isUsed(phase, at: point) ? [0..<pass.depth] : [] }
                let each = pass.blocksOfPhase * 16
                var ranges: [Range<Int>] = []
                for phase in 0..<c.phases where c.isUsed(phase, at: point) {
                    let first = ranges.last?.upperBound == phase * each ? ranges.removeLast().lowerBound : phase * each
                    ranges.append(first..<(phase + 1) * each)
                }
                return ranges
            }
        }
    }

    private func run(_ call: Call, _ memory: WorkerScratch) {
        let pass = call.pass
        let tiles = call.x.images * pass.tiles
        let s = schedule(pass, tiles)
        let groups = Parts(count: pass.panels, size: s.panels)
        func range(_ first: Int, _ count: Int) -> WinogradTiles {
            WinogradTiles(rows: pass.tileRows, columns: pass.tileColumns, first: first, count: count)
        }
        guard s.shared else {
            // A thread takes a part of the tiles through all three steps.
            let parts = Parts(count: tiles, size: s.part)
            ThreadPool.shared.parallel(parts.parts, workers: workers) { index, worker in
                let part = parts.part(index)
                let tiles = range(part.lowerBound, part.count)
                let v = memory.share(of: worker, among: workers, floats: s.v + s.m)
                withScratch { scratch in
                    for block in 0..<pass.blocks { transformInput(call, block, tiles, v, s.part, scratch) }
                    for group in 0..<groups.parts {
                        multiply(call, groups.part(group), tiles, v, s.part, v + s.v, scratch)
                    }
                }
            }
            return
        }
        for first in Swift.stride(from: 0, to: tiles, by: s.block) {
            let parts = Parts(count: min(s.block, tiles - first), size: s.part)
            ThreadPool.shared.parallel(parts.parts * pass.blocks) { task, _ in
                let part = parts.part(task % parts.parts)
                withScratch {
                    transformInput(
                        call, task / parts.parts, range(first + part.lowerBound, part.count),
                        memory.pointer + part.lowerBound * 16, s.block, $0)
                }
            }
            ThreadPool.shared.parallel(parts.parts * groups.parts, workers: workers) { task, worker in
                let part = parts.part(task % parts.parts)
                withScratch {
                    multiply(
                        call, groups.part(task / parts.parts), range(first + part.lowerBound, part.count),
                        memory.pointer + part.lowerBound * 16, s.block, memory.pointer + s.v + worker * s.m, $0)
                }
            }
        }
    }

    private func transformInput(
        _ call: Call, _ block: Int, _ tiles: WinogradTiles, _ v: UnsafeMutablePointer<Float>, _ all: Int,
        _ scratch: UnsafeMutablePointer<Float>
    ) {
        transformInput(
            call.pass, call.x, block: block, tiles, into: v, blockStride: blockStride(all),
            pointStride: pointStride(call.pass.blocks, all), scratch)
    }

    /// Some panels of 32 output channels, of some tiles: the product at every point, and the transform back.
    private func multiply(
        _ call: Call, _ panels: Range<Int>, _ tiles: WinogradTiles, _ v: UnsafePointer<Float>, _ all: Int,
        _ m: UnsafeMutablePointer<Float>, _ scratch: UnsafeMutablePointer<Float>
    ) {
        let pass = call.pass
        let (rows, half, chain) = (tiles.count, blockStride(tiles.count), PhaseConvolution.chain)
        let (blocks, panelStride) = (2 * panels.count, weightPanelStride(pass.depth))
        for point in 0..<points {
            let b = call.weights + panels.lowerBound * panelStride + point * weightPointStride(pass.depth)
            let a = v + point * pointStride(pass.blocks, all)
            let c = m + point * pointStride(blocks, rows)
            if call.terms[point].isEmpty { c.update(repeating: 0, count: blocks * half) }
            var accumulate = false
            for range in call.terms[point] {
                for from in Swift.stride(from: range.lowerBound, to: range.upperBound, by: chain) {
                    let to = min(from + chain, range.upperBound)
                    kernels.gemm(
                        Gemm(
                            rows: rows, columns: 32 * panels.count, depth: to - from,
                            a: a + from / 16 * blockStride(all),
                            aRow: 16, aBlock: blockStride(all), b: b + from * 32, bPanel: panelStride,
                            bAfter: b + to * 32, c: c, cRow: 16, cHalf: half, accumulate: accumulate))
                    accumulate = true
                }
            }
        }
        let y = call.y
        for panel in panels {
            transforms.output(
                WinogradOutput(
                    tiles: tiles, source: m + 2 * (panel - panels.lowerBound) * half,
                    pointStride: pointStride(blocks, rows), halfStride: half,
                    target: y.block(2 * panel), imageStride: y.shape.pixels * 16, targetBlock: y.blockStride,
                    height: y.shape.height, width: y.shape.width, step: pass.targetStep, rowOffset: pass.rowOffset,
                    columnOffset: pass.columnOffset, accumulate: call.accumulate,
                    scale: call.epilogue.scale.map { $0 + panel * 32 },
                    bias: call.epilogue.bias.map { $0 + panel * 32 },
                    relu: call.epilogue.relu, scratch: scratch))
        }
    }
}
