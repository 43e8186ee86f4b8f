import DimArchitecture
import DimOperators
import DimRuntime

extension OperatorTable {
    private static func map(_ channels: Int, _ height: Int, _ width: Int) -> MapShape {
        MapShape(channels: channels, height: height, width: width)
    }

    private static func window(_ kernel: (Int, Int), _ stride: (Int, Int) = (1, 1), _ padding: (Int, Int) = (0, 0))
        -> Window
    {
        Window(kernel: kernel, stride: stride, padding: padding)
    }

    static let convolutionSizes: [ConvolutionSize] =
        [
            // Few channels: windows without gaps.
            .init(1, map(1, 5, 7), 3, window((3, 3))),
            .init(3, map(3, 9, 11), 17, window((4, 4), (2, 2), (1, 1))),
            .init(2, map(3, 31, 27), 33, window((11, 11), (4, 4), (2, 2))),
            .init(5, map(2, 16, 16), 32, window((4, 4), (1, 1), (1, 1))),
            .init(2, map(15, 6, 9), 10, window((3, 2), (1, 2), (1, 0))),
            .init(4, map(1, 34, 33), 5, window((2, 2))),
            // Blocks of channels, several chains of k.
            .init(5, map(17, 6, 5), 33, window((3, 3), (1, 1), (1, 1))),
            .init(4, map(32, 8, 8), 64, window((4, 4), (2, 2), (1, 1))),
            .init(3, map(40, 7, 10), 1, window((5, 2), (3, 1), (2, 0))),
            .init(2, map(16, 13, 12), 18, window((7, 7), (1, 1), (3, 3))),
            .init(2, map(33, 11, 11), 20, window((11, 9), (1, 1), (0, 4))),
            .init(1, map(48, 4, 4), 31, window((4, 4))),
            .init(2, map(16, 2, 3), 3, window((4, 5), (1, 1), (3, 3))),
            .init(3, map(20, 9, 9), 40, window((1, 1), (2, 4))),
            .init(3, map(18, 5, 5), 8, window((1, 1), (1, 1), (1, 1))),
            .init(1, map(64, 16, 16), 34, window((3, 3), (1, 1), (1, 1))),
            // One place: no windows.
            .init(5, map(3, 4, 3), 17),
            .init(2, map(32, 13, 11), 64),
            .init(3, map(96, 8, 8), 48),
            .init(5, map(600, 1, 1), 65),
            .init(70, map(64, 1, 1), 1),
            .init(1, map(1, 1, 1), 1),
            .init(33, map(300, 1, 1), 160),
            // Parts of a wider layer.
            .init(3, map(20, 1, 1), 37, weightInputs: 50, first: 7),
            .init(2, map(32, 3, 5), 40, weightInputs: 100, first: 64),
            .init(2, map(3, 6, 6), 12, window((3, 3)), weightInputs: 9, first: 6),
            .init(2, map(19, 6, 6), 12, window((3, 3)), weightInputs: 24, first: 1),
        ] + winogradSizes + randomConvolutions(40, seed: 11)

    /// F(2, 2) and F(4, 2) over the phases of a stride, F(4, 3), F(3, 4): odd channels, odd maps, tiles that hang over, kernels that
    /// are a row short, maps smaller than a tile, many tiles.
    static let winogradSizes: [ConvolutionSize] =
        [2, 4].flatMap { m -> [ConvolutionSize] in
            [
                .init(2, map(16, 16, 16), 32, window((4, 4), (2, 2), (1, 1)), .winograd(m: m)),
                .init(3, map(37, 11, 8), 50, window((4, 4), (2, 2), (1, 1)), .winograd(m: m)),
                .init(2, map(17, 9, 13), 20, window((4, 4), (2, 2), (0, 3)), .winograd(m: m)),
                .init(1, map(16, 4, 4), 1, window((4, 4), (2, 2)), .winograd(m: m)),
                .init(5, map(20, 2, 3), 33, window((4, 3), (2, 2), (2, 1)), .winograd(m: m)),
                .init(3, map(33, 10, 9), 18, window((3, 3), (2, 2), (1, 1)), .winograd(m: m)),
                .init(2, map(16, 9, 7), 40, window((2, 2)), .winograd(m: m)),
                .init(2, map(18, 14, 13), 17, window((6, 5), (3, 3), (2, 1)), .winograd(m: m)),
                .init(40, map(24, 13, 12), 34, window((4, 4), (2, 2), (1, 1)), .winograd(m: m)),
                .init(
                    2, map(19, 8, 8), 12, window((4, 4), (2, 2), (1, 1)), weightInputs: 24, first: 1, .winograd(m: m)),
            ]
        } + [
            .init(3, map(17, 10, 7), 40, window((3, 3), (1, 1), (1, 1)), .winograd(m: 4)),
            .init(2, map(48, 6, 6), 33, window((3, 3)), .winograd(m: 4)),
            .init(2, map(16, 14, 14), 32, window((5, 5), (2, 2), (2, 2)), .winograd(m: 4)),
            .init(1, map(20, 13, 11), 7, window((5, 6), (2, 2), (1, 3)), .winograd(m: 4)),
            .init(2, map(40, 1, 2), 20, window((3, 3), (1, 1), (1, 1)), .winograd(m: 4)),
            .init(2, map(23, 8, 9), 35, window((4, 4), (1, 1), (1, 2)), .winograd(m: 3)),
        ]

    /// Any sizes within the caps, small.
    static func randomConvolutions(_ count: Int, seed: UInt64) -> [ConvolutionSize] {
        var generator = MersenneTwister(seed: seed)
        func draw(_ range: ClosedRange<Int>) -> Int {
            range.lowerBound + Int(generator.next()) % range.count
        }
        return (0..<count).map { _ in
            let kernel = (draw(1...11), draw(1...11))
            let padding = (draw(0...kernel.0 - 1), draw(0...kernel.1 - 1))
            let input = map(
                [1, 3, 17, 16, 32, 5][draw(0...5)], max(1, kernel.0 - 2 * padding.0) + draw(0...5),
                max(1, kernel.1 - 2 * padding.1) + draw(0...5))
            return ConvolutionSize(
                draw(1...5), input, [1, 3, 17, 32][draw(0...3)],
                window(kernel, (draw(1...4), draw(1...4)), padding))
        }
    }

    static let others: [OperatorCase] =
        [
            pool(.max, 3, map(3, 7, 9), window((2, 2), (2, 2))),
            pool(.max, 2, map(17, 8, 6), window((3, 3), (2, 2), (1, 1))),
            pool(.max, 1, map(1, 5, 5), window((5, 5), (1, 1), (2, 2))),
            pool(.max, 2, map(33, 11, 4), window((3, 2), (4, 1), (1, 1))),
            pool(.average, 3, map(3, 7, 9), window((2, 2), (2, 2))),
            pool(.average, 2, map(17, 8, 6), window((3, 3), (2, 2), (1, 1))),
            pool(.average, 5, map(40, 8, 8), window((8, 8), (1, 1))),
            pool(.average, 2, map(16, 11, 5), window((11, 3), (3, 4), (5, 1))),
            batchNorm(3, map(17, 5, 4), relu: false),
            batchNorm(2, map(3, 8, 8), relu: true),
            batchNorm(5, map(33, 1, 1), relu: true),
            batchNorm(2, map(1, 1, 1), relu: false),
            batchNorm(5, map(2, 33, 31), relu: true),  // several shares of rows
            layerNorm(3, map(17, 2, 3)),
            layerNorm(2, map(64, 5, 5)),
            layerNorm(5, map(3, 1, 1)),
            layerNorm(70, map(300, 1, 1)),
            flatten(3, map(17, 3, 5)),
            flatten(2, map(32, 4, 4)),
            flatten(3, map(19, 4, 8)),
            flatten(2, map(5, 16, 1)),
            flatten(2, map(3, 9, 9)),
            flatten(4, map(1, 13, 7)),
            flatten(5, map(40, 1, 1)),
            flatten(64, map(16, 1, 2)),
        ]
        + [true, false].flatMap { choice in
            [map(1, 3, 3), map(3, 5, 4), map(17, 2, 2), map(64, 8, 8)].flatMap {
                [activation(choice, 3, $0), combine(choice, 2, $0)]
            }
        }

    static let cases = convolutionSizes.map(convolution) + others
}
