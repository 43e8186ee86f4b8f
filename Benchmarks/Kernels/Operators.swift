import DimArchitecture
import DimKernels
import DimOperators

/// The operators of any architecture at sizes of the presets, 64 images, from the tests' own table.
func benchOperators(_ kernels: KernelTable) throws {
    let halving = ReferenceOperators.Window(kernel: (4, 4), stride: (2, 2), padding: (1, 1))
    let same = ReferenceOperators.Window(kernel: (3, 3), stride: (1, 1), padding: (1, 1))
    let halving3 = ReferenceOperators.Window(kernel: (3, 3), stride: (2, 2), padding: (1, 1))
    let halving1 = ReferenceOperators.Window(kernel: (1, 1), stride: (2, 2))
    func map(_ channels: Int, _ side: Int) -> MapShape { MapShape(channels: channels, height: side, width: side) }
    let layers: [(String, (Int) -> OperatorCase)] = [
        ("basic32 c0", { OperatorTable.convolution(.init($0, map(3, 32), 64, halving)) }),
        ("basic32 c1", { OperatorTable.convolution(.init($0, map(64, 16), 128, halving)) }),
        ("basic32 c1 F(2)", { OperatorTable.convolution(.init($0, map(64, 16), 128, halving, .winograd(m: 2))) }),
        ("basic32 c1 F(4)", { OperatorTable.convolution(.init($0, map(64, 16), 128, halving, .winograd(m: 4))) }),
        ("basic32 c2", { OperatorTable.convolution(.init($0, map(128, 8), 256, halving)) }),
        ("basic32 c2 F(2)", { OperatorTable.convolution(.init($0, map(128, 8), 256, halving, .winograd(m: 2))) }),
        ("basic32 c2 F(4)", { OperatorTable.convolution(.init($0, map(128, 8), 256, halving, .winograd(m: 4))) }),
        ("basic32 l0", { OperatorTable.convolution(.init($0, map(4096, 1), 1024)) }),
        ("basic32 l1", { OperatorTable.convolution(.init($0, map(1024, 1), 64)) }),
        ("local head 512", { OperatorTable.convolution(.init($0, map(128, 8), 512)) }),
        ("local head 512 512", { OperatorTable.convolution(.init($0, map(512, 8), 512)) }),
        ("alex64 c0", { OperatorTable.convolution(.init($0, map(3, 64), 96, same)) }),
        ("alex64 c1", { OperatorTable.convolution(.init($0, map(96, 31), 192, same)) }),
        ("alex64 c1 F(4)", { OperatorTable.convolution(.init($0, map(96, 31), 192, same, .winograd(m: 4))) }),
        ("alex64 c2", { OperatorTable.convolution(.init($0, map(192, 15), 384, same)) }),
        ("alex64 c2 F(4)", { OperatorTable.convolution(.init($0, map(192, 15), 384, same, .winograd(m: 4))) }),
        ("resnet19 r0 c0", { OperatorTable.convolution(.init($0, map(64, 16), 64)) }),
        ("resnet19 r0 c1", { OperatorTable.convolution(.init($0, map(64, 16), 64, same)) }),
        ("resnet19 r0 c1 F(4)", { OperatorTable.convolution(.init($0, map(64, 16), 64, same, .winograd(m: 4))) }),
        ("resnet19 r0 c2", { OperatorTable.convolution(.init($0, map(64, 16), 256)) }),
        ("resnet19 r1 c0", { OperatorTable.convolution(.init($0, map(256, 16), 64)) }),
        ("resnet19 r2 c1", { OperatorTable.convolution(.init($0, map(128, 16), 128, halving3)) }),
        ("resnet19 r2 c1 F(4)", { OperatorTable.convolution(.init($0, map(128, 16), 128, halving3, .winograd(m: 4))) }),
        ("resnet19 r2 s0", { OperatorTable.convolution(.init($0, map(256, 16), 512, halving1)) }),
        ("resnet19 r3 c1", { OperatorTable.convolution(.init($0, map(128, 8), 128, same)) }),
        ("resnet19 r3 c1 F(4)", { OperatorTable.convolution(.init($0, map(128, 8), 128, same, .winograd(m: 4))) }),
        ("resnet19 r4 c0", { OperatorTable.convolution(.init($0, map(512, 8), 256)) }),
        ("resnet19 r4 c1", { OperatorTable.convolution(.init($0, map(256, 8), 256, halving3)) }),
        ("resnet19 r4 c1 F(4)", { OperatorTable.convolution(.init($0, map(256, 8), 256, halving3, .winograd(m: 4))) }),
        ("resnet19 r5 c1", { OperatorTable.convolution(.init($0, map(256, 4), 256, same)) }),
        ("resnet19 r5 c1 F(4)", { OperatorTable.convolution(.init($0, map(256, 4), 256, same, .winograd(m: 4))) }),
        ("resnet19 r5 c2", { OperatorTable.convolution(.init($0, map(256, 4), 1024)) }),
        ("resnet19 l0", { OperatorTable.convolution(.init($0, map(16384, 1), 1024)) }),
        ("batch norm 64x16x16", { OperatorTable.batchNorm($0, map(64, 16), relu: true) }),
        ("layer norm 1024", { OperatorTable.layerNorm($0, map(1024, 1)) }),
        ("max pool 3/2 64x32x32", { OperatorTable.pool(.max, $0, map(64, 32), .init(kernel: (3, 3), stride: (2, 2))) }),
        (
            "average pool 2 64x32x32",
            { OperatorTable.pool(.average, $0, map(64, 32), .init(kernel: (2, 2), stride: (2, 2))) }
        ),
        ("flatten 256x4x4", { OperatorTable.flatten($0, map(256, 4)) }),
    ]
    for (name, make) in layers {
        for n in [64, 1] where wanted("\(name) batch \(n)") {
            let operation = make(n)
            let values = try operation.arguments.map { try random($0).array }
            let trial = try operation.make(kernels, values)
            trial.outputGradient.set([Float](repeating: 0.5, count: n * trial.output.activation.shape.size))
            func line(_ part: String, _ run: () throws -> Void) throws {
                let time = try best(run)
                var text = "\(name) batch \(n) \(part): \(decimal(time.wall * 1e3, 3)) ms"
                if operation.operations > 0 && !part.hasPrefix("pack") {
                    let work = 2 * Double(operation.operations) / 1e9
                    text += ", GFLOP/s \(decimal(work / time.wall)), a core \(decimal(work / time.cpu))"
                }
                print(text)
            }
            for (part, run) in trial.prepare { try line(part, run) }
            try line("forward", trial.forward)
            if n == 1, name.contains("32 c") || name.contains("64 c") {
                let (y, expected) = (try trial.output.planar(), operation.reference(values.map { $0.map(Double.init) }))
                let squares = zip(y, expected).reduce(0) { $0 + (Double($1.0) - $1.1) * (Double($1.0) - $1.1) }
                let error = (squares / expected.reduce(0) { $0 + $1 * $1 }).squareRoot()
                print("\(name) forward: error \(error), the root mean square over that of the output")
            }
            guard n > 1 else { continue }
            for (part, run) in trial.backward { try line(part, run) }
        }
    }
}
