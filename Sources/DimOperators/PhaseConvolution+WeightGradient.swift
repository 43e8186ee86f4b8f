import DimArchitecture
import DimKernels
import DimRuntime

/// In the transformed domain: dU(point) = V(point)^T dM(point), summed over the tiles of all images.
///
/// V and dM exist for a block of tiles, as many as the memory allows: the shape and the batch alone decide. A task takes 32 of
/// dU's rows and a panel or two of its columns at all points, which stay in its second-level cache, transforms them back and
/// adds them to the weights' gradient.
extension PhaseConvolution {
    /// Floats of V and dM, at most, as far as a chain of so many tiles allows.
    private static let largestOperands = 5_000_000
    private static let shortestChain = 64

    private func largestBlock(_ pass: Pass, _ tiles: Int) -> Int {
        let most = PhaseConvolution.largestOperands / (points * 16 * (pass.blocks + 2 * pass.panels))
        return min(tiles, max(PhaseConvolution.shortestChain, min(2 * PhaseConvolution.chain, most)))
    }

    // dU (point, panel, channel, 32) of a task.
    private static func sumsStride(_ panels: Int) -> Int { panels * 32 * 32 + pad }

    /// Panels of a task: as many as a product computes at once, where the threads have enough to share.
    private func gradientPanels(_ pass: Pass) -> Parts {
        let most = min(pass.panels, kernels.columnsAtOnce / 32)
        let groups = Parts(count: pass.panels, size: most)
        let isMany = groups.parts * ((input.channels + 31) / 32) >= 4 * ThreadPool.shared.threads
        return isMany ? groups : Parts(count: pass.panels, size: 1)
    }

    func weightGradientScratch(images: Int) -> Int {
        let pass = forwardPass
        let tiles = largestBlock(pass, images * pass.tiles)
        return count(pass.blocks, tiles) + count(2 * pass.panels, tiles)
            + workers * points * PhaseConvolution.sumsStride(kernels.columnsAtOnce / 32)
    }

    /// dW += dy^T x over the windows.
    func weightGradient(
        _ x: Activation, _ dy: Activation, into weights: UnsafeMutablePointer<Float>,
        scratch: UnsafeMutablePointer<Float>
    ) {
        let pass = forwardPass
        let tiles = x.images * pass.tiles
        let blocks = Parts(count: tiles, size: equalPiece(of: tiles, atMost: largestBlock(pass, tiles)))
        let dM = scratch + count(pass.blocks, blocks.size)
        let dU = dM + count(2 * pass.panels, blocks.size)
        let used = (0..<points).map { point in (0..<phases).map { isUsed($0, at: point) } }
        for index in 0..<blocks.parts {
            let block = blocks.part(index)
            let range = WinogradTiles(
                rows: pass.tileRows, columns: pass.tileColumns, first: block.lowerBound, count: block.count)
            transform(pass, x, dy, range, scratch, dM)
            multiply(pass, used, block.count, scratch, dM, dU, weights)
        }
    }

    private func transform(
        _ pass: Pass, _ x: Activation, _ dy: Activation, _ tiles: WinogradTiles, _ v: UnsafeMutablePointer<Float>,
        _ dM: UnsafeMutablePointer<Float>
    ) {
        let stride = blockStride(tiles.count)
        ThreadPool.shared.parallel(pass.blocks + 2 * pass.panels) { task, _ in
            withScratch { scratch in
                if task < pass.blocks {
                    transformInput(
                        pass, x, block: task, tiles, into: v, blockStride: stride,
                        pointStride: pointStride(pass.blocks, tiles.count), scratch)
                } else {
                    let block = task - pass.blocks
                    transforms.outputGradient(
                        WinogradWindows(
                            tiles: tiles, source: dy.block(block), imageStride: dy.shape.pixels * 16,
                            sourceBlock: dy.blockStride, height: dy.shape.height, width: dy.shape.width, rowPadding: 0,
                            columnPadding: 0, firstBlock: 0, blocks: 1, target: dM + block * stride,
                            pointStride: pointStride(2 * pass.panels, tiles.count), blockStride: stride,
                            scratch: scratch))
                }
            }
        }
    }

    /// dU = V^T dM, the tiles being the products' k, and back to the weights.
    private func multiply(
        _ pass: Pass, _ used: [[Bool]], _ tiles: Int, _ v: UnsafePointer<Float>, _ dM: UnsafePointer<Float>,
        _ memory: UnsafeMutablePointer<Float>, _ weights: UnsafeMutablePointer<Float>
    ) {
        let places = kernel.rows * kernel.columns
        let stride = blockStride(tiles)
        let channels = Parts(count: input.channels, size: 32)
        let groups = gradientPanels(pass)
        let sums = PhaseConvolution.sumsStride(groups.size)
        // The phases of the same weights one after another.
        ThreadPool.shared.parallel(groups.parts * channels.parts, workers: workers) { task, worker in
            let (panels, part) = (groups.part(task / channels.parts), channels.part(task % channels.parts))
            let dU = memory + worker * points * sums
            for phase in 0..<phases {
                let first = phase * pass.blocksOfPhase + part.lowerBound / 16
                for point in 0..<points where used[point][phase] {
                    for half in 0..<(part.count + 15) / 16 {
                        kernels.gemm(
                            Gemm(
                                rows: 16, columns: 32 * panels.count, depth: tiles,
                                a: v + point * pointStride(pass.blocks, tiles) + (first + half) * stride, aRow: 1,
                                aStep: 16, aBlock: 256,
                                b: dM + point * pointStride(2 * pass.panels, tiles) + 2 * panels.lowerBound * stride,
                                bRow: 16, bHalf: stride, bPanel: 2 * stride,
                                c: dU + point * sums + half * 16 * 32, cRow: 32, cPanel: 32 * 32))
                    }
                }
                for panel in panels {
                    withScratch { scratch in
                        transforms.weightGradient(
                            WinogradWeightGradient(
                                source: dU + (panel - panels.lowerBound) * 32 * 32, pointStride: sums,
                                depth: part.count,
                                target: weights + firstWeight + panel * 32 * weightStride + part.lowerBound * places
                                    + firstTap(phase),
                                taps: taps(phase, lanes: min(32, output.channels - panel * 32)),
                                laneStride: weightStride, depthStride: places, accumulate: true, scratch: scratch))
                    }
                }
            }
        }
    }
}
