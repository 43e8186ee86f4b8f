import DimKernels
import DimRuntime

// The convolution as defined, without a copy of its windows: the matrix product reads them in place, by a table of offsets.
// For one output row the windows' elements (c, u, v) lie at fixed distances from the row's first pixel, so the table is the
// same for all rows.

extension ConvolutionWeights {
    /// Panels of 32 output channels, each (k, 32): k runs over (c/16, u, v, c%16), or over (c, u, v) where the input is planar.
    func packDirect(_ weights: UnsafePointer<Float>) {
        let p = problem
        let area = p.kernel * p.kernel
        let block = p.inputIsPlanar ? 1 : 16
        ThreadPool.shared.parallel(p.outputChannels / 32) { panel, _ in
            var target = buffer.pointer + panel * p.depth * 32
            for first in stride(from: 0, to: p.inputChannels, by: block) {
                for position in 0..<area {
                    for c in first..<first + block {
                        for j in 0..<32 {
                            let o = panel * 32 + j
                            target[j] =
                                direction == .forward
                                ? weights[(o * p.inputChannels + c) * area + position]
                                : weights[(c * p.outputChannels + o) * area + (area - 1 - position)]
                        }
                        target += 32
                    }
                }
            }
        }
    }
}

struct DirectConvolution {
    let problem: ConvolutionProblem
    let weights: ConvolutionWeights

    init(_ weights: ConvolutionWeights) {
        self.weights = weights
        problem = weights.problem
    }

    /// Size of an image as the product reads it: with its padding.
    private var height: Int { problem.inputHeight + 2 * problem.padding }
    private var width: Int { problem.inputWidth + 2 * problem.padding }
    private var paddedSize: Int { problem.inputChannels * height * width }

    /// One image a worker, where it must be copied.
    func scratchCount(_ n: Int) -> Int { min(ThreadPool.shared.threads, n) * paddedSize }

    func run(
        _ input: UnsafePointer<Float>, _ n: Int, _ affine: InputAffine?, _ epilogue: Epilogue,
        _ output: UnsafeMutablePointer<Float>, _ scratch: ScratchBuffer
    ) throws {
        let panels = problem.outputChannels / 32
        let offsets = windowOffsets()
        let pool = ThreadPool.shared
        if affine == nil && problem.padding == 0 {
            pool.parallel(n * panels) { chunk, _ in
                let (image, panel) = (chunk / panels, chunk % panels)
                multiply(input + image * paddedSize, panel, offsets, epilogue, output + image * problem.outputSize)
            }
            return
        }
        let workers = min(pool.threads, n)
        let staged = try scratch.floats(workers * paddedSize)
        pool.parallel(n, workers: workers) { image, worker in
            let copy = staged + worker * paddedSize
            stage(input + image * problem.inputSize, affine, copy)
            for panel in 0..<panels {
                multiply(copy, panel, offsets, epilogue, output + image * problem.outputSize)
            }
        }
    }

    /// Where in the image the runs of k begin, from the window's first pixel.
    private func windowOffsets() -> [Int] {
        var offsets: [Int] = []
        for block in 0..<problem.inputChannels / (problem.inputIsPlanar ? 1 : 16) {
            for u in 0..<problem.kernel {
                if problem.inputIsPlanar {
                    offsets.append((block * height + u) * width)
                } else {
                    for v in 0..<problem.kernel { offsets.append(((block * height + u) * width + v) * 16) }
                }
            }
        }
        return offsets
    }

    /// One image, 32 output channels.
    /// Runs of k that one chain of additions covers: a sum of 4,096 terms in one chain would lose a digit.
    private static let chainRuns = 16

    private func multiply(
        _ image: UnsafePointer<Float>, _ panel: Int, _ offsets: [Int], _ epilogue: Epilogue,
        _ output: UnsafeMutablePointer<Float>
    ) {
        let pixel = problem.inputIsPlanar ? 1 : 16
        let run = problem.inputIsPlanar ? problem.kernel : 16
        let plane = problem.outputHeight * problem.outputWidth * 16
        offsets.withUnsafeBufferPointer { offsets in
            for y in 0..<problem.outputHeight {
                for first in stride(from: 0, to: offsets.count, by: DirectConvolution.chainRuns) {
                    let runs = min(DirectConvolution.chainRuns, offsets.count - first)
                    let isLast = first + runs == offsets.count
                    weights.kernels.gemm(
                        Gemm(
                            rows: problem.outputWidth, columns: 32, depth: runs * run,
                            a: image + y * width * pixel, aRow: pixel, aRun: run,
                            aOffsets: offsets.baseAddress! + first,
                            b: weights.buffer.pointer + (panel * problem.depth + first * run) * 32,
                            c: output + (2 * panel * plane + y * problem.outputWidth * 16), cRow: 16, cHalf: plane,
                            accumulate: first > 0,
                            scale: isLast ? epilogue.scale.map { $0 + panel * 32 } : nil,
                            bias: isLast ? epilogue.bias.map { $0 + panel * 32 } : nil,
                            relu: isLast && epilogue.relu))
                }
            }
        }
    }

    /// Copies an image with its padding, and with the affine map applied to its pixels.
    private func stage(_ image: UnsafePointer<Float>, _ affine: InputAffine?, _ copy: UnsafeMutablePointer<Float>) {
        let p = problem
        if p.padding > 0 { copy.update(repeating: 0, count: paddedSize) }
        let pixel = p.inputIsPlanar ? 1 : 16
        for block in 0..<p.inputChannels / pixel {
            for y in 0..<p.inputHeight {
                let source = image + (block * p.inputHeight + y) * p.inputWidth * pixel
                let target = copy + ((block * height + y + p.padding) * width + p.padding) * pixel
                for i in 0..<p.inputWidth * pixel {
                    if let affine {
                        let c = block * pixel + i % pixel
                        target[i] = max(source[i] * affine.scale[c] + affine.shift[c], 0)
                    } else {
                        target[i] = source[i]
                    }
                }
            }
        }
    }
}
