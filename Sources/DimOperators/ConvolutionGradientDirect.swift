import DimKernels
import DimRuntime

/// As defined: dw(o, c, u, v) = the sum over images and pixels of dy(o, i, j) x(c, i + u, j + v). For one (u, v) and 16 input
/// channels it is a matrix product over all pixels of an image, read in place; the images' sums are added in order.
struct DirectWeightGradient {
    let shape: ConvolutionShape
    let kernels: KernelTable

    /// A product's rows: 16 channels at one (u, v), or, where the input is planar, the v of one channel and u.
    private var rows: Int { shape.inputIsPlanar ? shape.kernel : 16 }
    private var blocks: Int { shape.inputIsPlanar ? shape.inputChannels : shape.inputChannels / 16 }
    private var products: Int { shape.inputIsPlanar ? 1 : shape.kernel }
    private var pixel: Int { shape.inputIsPlanar ? 1 : 16 }

    /// The sums, and one image with the affine map applied.
    var scratchCount: Int { shape.weightCount + shape.inputSize }

    /// Sums are kept as (panel, block, u, v or 1, row, 32).
    func run(_ x: WeightGradientOperands, _ scratch: ScratchBuffer) throws {
        let memory = try scratch.floats(scratchCount)
        let offsets = (0..<shape.outputHeight).map { $0 * shape.inputWidth * pixel }
        if let affine = x.affine {
            let staged = memory + shape.weightCount
            for image in 0..<x.n {
                stage(x.input + image * shape.inputSize, affine, staged)
                forEachSum { addImage(x, image, staged, $0, $1, $2, memory, offsets) }
            }
        } else {
            forEachSum { panel, block, u in
                for image in 0..<x.n {
                    addImage(x, image, x.input + image * shape.inputSize, panel, block, u, memory, offsets)
                }
            }
        }
        forEachSum { writeBack(x, $0, $1, $2, memory) }
    }

    private func forEachSum(_ body: (_ panel: Int, _ block: Int, _ u: Int) -> Void) {
        let (panels, k) = (shape.outputChannels / 32, shape.kernel)
        ThreadPool.shared.parallel(panels * blocks * k) { chunk, _ in
            body(chunk / k / blocks, chunk / k % blocks, chunk % k)
        }
    }

    private func sums(_ memory: UnsafeMutablePointer<Float>, _ panel: Int, _ block: Int, _ u: Int)
        -> UnsafeMutablePointer<Float>
    {
        memory + ((panel * blocks + block) * shape.kernel + u) * products * rows * 32
    }

    private func addImage(
        _ x: WeightGradientOperands, _ image: Int, _ input: UnsafePointer<Float>, _ panel: Int, _ block: Int, _ u: Int,
        _ memory: UnsafeMutablePointer<Float>, _ offsets: [Int]
    ) {
        let plane = shape.outputHeight * shape.outputWidth
        offsets.withUnsafeBufferPointer { offsets in
            for v in 0..<products {
                kernels.gemm(
                    Gemm(
                        rows: rows, columns: 32, depth: plane,
                        a: input + ((block * shape.inputHeight + u) * shape.inputWidth + v) * pixel, aRow: 1,
                        aStep: pixel,
                        aRun: shape.outputWidth, aOffsets: offsets.baseAddress,
                        b: x.outputGradient + image * shape.outputSize + 2 * panel * plane * 16, bRow: 16,
                        bHalf: plane * 16,
                        c: sums(memory, panel, block, u) + v * rows * 32, cRow: 32, accumulate: image > 0))
            }
        }
    }

    private func stage(_ image: UnsafePointer<Float>, _ affine: InputAffine, _ target: UnsafeMutablePointer<Float>) {
        let size = shape.inputHeight * shape.inputWidth * pixel
        ThreadPool.shared.parallel(blocks) { block, _ in
            for i in block * size..<(block + 1) * size {
                let c = block * pixel + i % pixel
                target[i] = max(image[i] * affine.scale[c] + affine.shift[c], 0)
            }
        }
    }

    private func writeBack(
        _ x: WeightGradientOperands, _ panel: Int, _ block: Int, _ u: Int, _ memory: UnsafeMutablePointer<Float>
    ) {
        let k = shape.kernel
        let source = sums(memory, panel, block, u)
        for o in 0..<32 {
            for row in 0..<rows {
                for v in 0..<products {
                    let (c, column) = shape.inputIsPlanar ? (block, row) : (block * 16 + row, v)
                    let at = (((panel * 32 + o) * shape.inputChannels + c) * k + u) * k + column
                    let sum = source[(v * rows + row) * 32 + o]
                    x.gradient[at] = x.accumulate ? x.gradient[at] + sum : sum
                }
            }
        }
    }
}
