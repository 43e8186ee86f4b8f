// Times the kernels and the convolutions at the model's own shapes, against what the cores can do at most.
//
//     swift run -c release dim-kernel-bench [part of a name, such as "c3 winograd F(5) forward"]
//
// "Effective" counts the operations of the direct form, whatever the algorithm needs. "A core" divides by processor time, for
// machines that are busy otherwise; set DIM_NUM_THREADS=1 for it, as a clock tick of other threads may not be counted yet.

import DimKernels
import DimOperators
import DimRuntime
import _StringProcessing
import Glibc
import _StringProcessing

func now() -> Double {
    var t = timespec()
    clock_gettime(CLOCK_MONOTONIC, &t)
    return Double(t.tv_sec) + Double(t.tv_nsec) * 1e-9
}

/// Time on this process's own cores: what counts where other processes take turns on them.
func cpu() -> Double {
    var t = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t)
    return Double(t.tv_sec) + Double(t.tv_nsec) * 1e-9
}

struct Timing {
    var wall = Double.infinity
    var cpu = Double.infinity
}

/// The best of a few runs, in seconds: other processes only ever add time.
func best(_ body: () throws -> Void) rethrows -> Timing {
    try body()
    var best = Timing()
    let start = now()
    var runs = 0
    while runs < 3 || (now() - start < 0.5 && runs < 200) {
        let (begin, used) = (now(), cpu())
        try body()
        best.wall = min(best.wall, now() - begin)
        best.cpu = min(best.cpu, cpu() - used)
        runs += 1
    }
    return best
}

func decimal(_ x: Double, _ digits: Int = 1) -> String {
    let scale = digits == 0 ? 1.0 : digits == 1 ? 10.0 : 1000.0
    let y = (x * scale).rounded() / scale
    return digits == 0 ? "\(Int(y))" : "\(y)"
}

func random(_ count: Int, seed: UInt64 = 1) throws -> Buffer {
    var random = MersenneTwister(seed: seed)
    let buffer = try Buffer(uninitialized: count)
    for i in 0..<count { buffer.pointer[i] = random.uniform() - 0.5 }
    return buffer
}

let filter = CommandLine.arguments.dropFirst().first ?? ""
func wanted(_ name: String) -> Bool { filter.isEmpty || name.contains(filter) }

let kernels = DimKernels.selected
let threads = ThreadPool.shared.threads
print("kernels \(kernels.name), threads \(threads)")

/// What a core can do at most: the register tile on operands that stay in the L1 cache.
func peak() throws -> Double {
    let (a, b, c) = (try random(13 * 128), try random(32 * 128), try random(13 * 32))
    let time = best {
        for _ in 0..<200 {
            kernels.gemm(
                Gemm(
                    rows: 12, columns: 32, depth: 128, a: a.pointer, aRow: 16, aBlock: 13 * 16, b: b.pointer,
                    c: c.pointer, cRow: 32))
        }
    }
    return 200 * 2 * 12 * 32 * 128 / time.wall / 1e9
}
print("peak in cache: \(decimal(try peak())) GFLOP/s a core")

func benchGemm(_ name: String, _ m: Int, _ n: Int, _ k: Int) throws {
    guard wanted("gemm " + name) else { return }
    let (a, b, c) = (try random(m * k), try random(n * k), try random(m * n))
    let time = best {
        kernels.gemm(
            Gemm(
                rows: m, columns: n, depth: k, a: a.pointer, aRow: 16, aBlock: m * 16, b: b.pointer,
                c: c.pointer, cRow: 16, cHalf: m * 16, cPanel: m * 32))
    }
    print("gemm \(name) \(m)x\(n)x\(k): \(decimal(2 * Double(m * n * k) / time.wall / 1e9)) GFLOP/s on one core")
}
try benchGemm("winograd c3", 96, 32, 256)
try benchGemm("winograd c1", 96, 32, 64)
try benchGemm("local c1", 676, 512, 512)
try benchGemm("few rows", 16, 32, 256)

func benchNT(_ name: String, _ m: Int, _ n: Int, _ k: Int) throws {
    guard wanted("gemmNT " + name) else { return }
    let (a, b, c) = (try random(m * k), try random(n * k), try random(m * n))
    let time = best {
        kernels.gemmNT(
            GemmNT(rows: m, columns: n, depth: k, a: a.pointer, aRow: k, b: b.pointer, bRow: k, c: c.pointer, cRow: n))
    }
    print(
        "gemmNT \(name) \(m)x\(n)x\(k): \(decimal(2 * Double(m * n * k) / time.wall / 1e9)) GFLOP/s, "
            + "\(decimal(Double(n * k) * 4 / time.wall / 1e9)) GB/s of weights on one core")
}
try benchNT("encoder l1, batch 1", 1, 64, 204800)
try benchNT("encoder l1 chunk, batch 64", 64, 64, 2048)
try benchNT("global l0, batch 1", 1, 512, 15552)

/// The local discriminator's c1 for a block of cells, by plain products and by Strassen's, with the rms error over the output's.
func benchStrassen(_ levels: Int) throws {
    guard wanted("strassen \(levels) levels") else { return }
    let (rows, size) = (104, 512)
    let (a, w, c) = (try random(rows * size), try random(size * size, seed: 2), try random(rows * size))
    let weights = try StrassenWeights(depth: size, columns: size, levels: levels)
    try weights.prepare(w.pointer, transposed: false)
    let scratch = try Buffer(uninitialized: max(1, weights.scratch(rows: rows)))
    let time = best {
        weights.multiply(
            StoredMatrix(a.pointer, rows: rows, columns: size, stride: size),
            into: StoredMatrix(c.pointer, rows: rows, columns: size, stride: size), scratch: scratch.pointer)
    }
    let expected = Reference.gemm(
        rows: rows, columns: size, depth: size, a: { a.pointer[$0 * size + $1] }, b: { w.pointer[$0 * size + $1] })
    var (errors, squares) = (0.0, 0.0)
    for (i, y) in expected.enumerated() {
        errors += (Double(c.pointer[i]) - y) * (Double(c.pointer[i]) - y)
        squares += y * y
    }
    print(
        "strassen \(levels) levels \(rows)x\(size)x\(size): "
            + "effective \(decimal(2 * Double(rows * size * size) / time.wall / 1e9)) GFLOP/s on one core, "
            + "rms error \((errors / squares).squareRoot())")
}
for levels in 0...2 { try benchStrassen(levels) }

/// The rms error of one random image's outputs over their rms, against sums in double at a thousand places.
func forwardError(_ shape: ConvolutionShape, _ algorithm: ConvolutionAlgorithm) throws -> Double {
    let (x, w) = (try random(shape.inputSize, seed: 3), try random(shape.weightCount, seed: 4))
    for i in 0..<shape.inputSize { x.pointer[i] = max(x.pointer[i], 0) }  // as after a ReLU
    let y = try Buffer(uninitialized: shape.outputSize)
    let weights = try ConvolutionWeights(shape, algorithm)
    weights.prepare(from: w.pointer)
    try Convolution.forward(x.pointer, n: 1, weights, into: y.pointer, ScratchBuffer())
    let (k, width, plane) = (shape.kernel, shape.inputWidth, shape.inputHeight * shape.inputWidth)
    let pixel = shape.inputIsPlanar ? 1 : 16
    var places = MersenneTwister(seed: 5)
    var (errors, squares) = (0.0, 0.0)
    for _ in 0..<1000 {
        let o = Int(places.next()) % shape.outputChannels
        let (i, j) = (Int(places.next()) % shape.outputHeight, Int(places.next()) % shape.outputWidth)
        var sum = 0.0
        for c in 0..<shape.inputChannels {
            for u in 0..<k {
                for v in 0..<k {
                    let at = c / pixel * plane * pixel + ((i + u) * width + j + v) * pixel + c % pixel
                    let weight = ((o * shape.inputChannels + c) * k + u) * k + v
                    sum += Double(x.pointer[at]) * Double(w.pointer[weight])
                }
            }
        }
        let got = y.pointer[((o / 16 * shape.outputHeight + i) * shape.outputWidth + j) * 16 + o % 16]
        errors += (Double(got) - sum) * (Double(got) - sum)
        squares += sum * sum
    }
    return (errors / squares).squareRoot()
}

let layers: [(String, ConvolutionShape)] = [
    ("encoder c0", .init(inputChannels: 3, outputChannels: 64, kernel: 4, inputHeight: 32, inputWidth: 32)),
    ("encoder c1", .init(inputChannels: 64, outputChannels: 128, kernel: 4, inputHeight: 29, inputWidth: 29)),
    ("encoder c2", .init(inputChannels: 128, outputChannels: 256, kernel: 4, inputHeight: 26, inputWidth: 26)),
    ("encoder c3", .init(inputChannels: 256, outputChannels: 512, kernel: 4, inputHeight: 23, inputWidth: 23)),
    ("global c0", .init(inputChannels: 128, outputChannels: 64, kernel: 3, inputHeight: 26, inputWidth: 26)),
    ("global c1", .init(inputChannels: 64, outputChannels: 32, kernel: 3, inputHeight: 24, inputWidth: 24)),
]

func algorithms(_ shape: ConvolutionShape) -> [ConvolutionAlgorithm] {
    if shape.inputIsPlanar { return [.direct] }
    return [.direct] + [3, 4, 5, 6].filter { kernels.winograd($0, shape.kernel) != nil }.map { .winograd(m: $0) }
}

func report(_ name: String, _ shape: ConvolutionShape, _ n: Int, _ time: Timing) {
    let work = Double(shape.operations * n) / 1e9
    print(
        "\(name) batch \(n): \(decimal(time.wall * 1e3, 3)) ms, \(decimal(Double(n) / time.wall, 0)) images/s, "
            + "effective GFLOP/s \(decimal(work / time.wall)), a core \(decimal(work / time.cpu))")
}

/// The transform of a batch's windows, in parts of 64 tiles, into the same memory again and again.
func benchInput(_ layer: String, _ shape: ConvolutionShape, _ m: Int) throws {
    guard let transforms = kernels.winograd(m, shape.kernel), wanted("\(layer) F(\(m)) input transform") else { return }
    let (n, part) = (8, 64)
    let input = try random(n * shape.inputSize)
    let (points, blocks) = (transforms.points, shape.inputChannels / 16)
    let pointStride = blocks * (part + 1) * 16 + 16
    let target = try Buffer(uninitialized: points * pointStride)
    let scratch = try Buffer(uninitialized: WinogradKernels.scratch)
    let rows = (shape.outputHeight + m - 1) / m
    let tiles = n * rows * rows
    let time = best {
        for first in stride(from: 0, to: tiles, by: part) {
            transforms.input(
                WinogradWindows(
                    tiles: WinogradTiles(rows: rows, columns: rows, first: first, count: min(part, tiles - first)),
                    source: input.pointer, imageStride: shape.inputSize,
                    sourceBlock: shape.inputHeight * shape.inputWidth * 16, height: shape.inputHeight,
                    width: shape.inputWidth, rowPadding: 0, columnPadding: 0, firstBlock: 0, blocks: blocks,
                    target: target.pointer, pointStride: pointStride, blockStride: (part + 1) * 16,
                    scratch: scratch.pointer))
        }
    }
    let each = time.wall * 1e9 / Double(tiles * blocks)
    print("\(layer) F(\(m)) input transform: \(decimal(each, 0)) ns a tile of 16 channels")
}
for (layer, shape) in layers where !shape.inputIsPlanar { try benchInput(layer, shape, shape.kernel == 4 ? 5 : 6) }

let scratch = ScratchBuffer()
for (layer, shape) in layers {
    for algorithm in algorithms(shape) {
        let name = "\(layer) \(algorithm)"
        let directions = [" forward", " data gradient", " weight gradient"]
        guard directions.contains(where: { wanted(name + $0) }) else { continue }
        let w = try random(shape.weightCount)
        let bias = try random(shape.outputChannels)
        let weights = try ConvolutionWeights(shape, algorithm)
        print("\(name) prepare: \(decimal(best { weights.prepare(from: w.pointer) }.wall * 1e3, 3)) ms")
        print("\(name) rms error: \(try forwardError(shape, algorithm))")
        let turned = shape.inputIsPlanar ? nil : try ConvolutionWeights(shape, algorithm, .dataGradient)
        turned?.prepare(from: w.pointer)
        for n in [64, 8, 1] {
            let input = try random(n * shape.inputSize)
            let output = try random(n * shape.outputSize)
            if wanted(name + " forward") {
                report(
                    name + " forward", shape, n,
                    try best {
                        try Convolution.forward(
                            input.pointer, n: n, weights, Epilogue(bias: bias.pointer, relu: true),
                            into: output.pointer, scratch)
                    })
            }
            guard n > 1 else { continue }
            if let turned, wanted(name + " data gradient") {
                report(
                    name + " data gradient", shape, n,
                    try best {
                        try Convolution.dataGradient(output.pointer, n: n, turned, into: input.pointer, scratch)
                    })
            }
            guard wanted(name + " weight gradient") else { continue }
            report(
                name + " weight gradient", shape, n,
                try best {
                    try Convolution.weightGradient(
                        shape, algorithm, n: n, input: input.pointer, outputGradient: output.pointer, into: w.pointer,
                        scratch)
                })
        }
    }
}
try benchMeasures(wanted)
try benchOperators(kernels)
