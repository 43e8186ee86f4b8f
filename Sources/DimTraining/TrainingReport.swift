import DimArchitecture
import DimRuntime

/// The terms of the objective for one batch.
package struct ObjectiveLosses {
    package let local: Double
    package let global: Double
    package let prior: Double
    package let total: Double
    package var figures = ObjectiveFigures()
}

/// What a batch says beside its losses; NaN for what it does not have.
package struct ObjectiveFigures {
    var images = 0
    var coordinates = Double.nan
    var gradientPenalty = Double.nan
    /// The measure's estimate of the local and the global term, in nats, and the largest |score| that went into it.
    var information: [Network: Double] = [:]
    var largestScore: [Network: Double] = [:]
    /// What the prior's discriminator reads of the encoder, s(y), (images, size); nil without a prior.
    var priorInputs: Buffer?

    init() {}
}

/// What a trainer's last call says: the means over its micro-batches.
package struct TrainingReport {
    package private(set) var images = 0
    package private(set) var total = Double.nan
    package private(set) var local = Double.nan
    package private(set) var global = Double.nan
    package private(set) var prior = Double.nan
    package private(set) var coordinates = Double.nan
    package private(set) var gradientPenalty = Double.nan
    package private(set) var localInformation = Double.nan
    package private(set) var globalInformation = Double.nan
    package private(set) var localScore = Double.nan
    package private(set) var globalScore = Double.nan
    package private(set) var priorDistance = Double.nan
    /// Of the last update; empty where there was none.
    package let gradientNorms: [Network: Double]
    package var gradientNorm: Double {
        guard !gradientNorms.isEmpty else { return .nan }
        let norms = Network.allCases.compactMap { gradientNorms[$0] }
        return norms.reduce(0) { $0 + $1 * $1 }.squareRoot()
    }

    init(_ batches: [ObjectiveLosses], _ networks: [Network], _ gradientNorms: [Network: Double]) throws {
        self.gradientNorms = gradientNorms
        guard !batches.isEmpty else { return }
        images = batches.reduce(0) { $0 + $1.figures.images }
        func mean(_ of: (ObjectiveLosses) -> Double?) -> Double {
            batches.reduce(0) { $0 + (of($1) ?? .nan) } / Double(batches.count)
        }
        total = mean { $0.total }
        if networks.contains(.localD) { local = mean { $0.local } }
        if networks.contains(.globalD) { global = mean { $0.global } }
        if networks.contains(.priorD) { prior = mean { $0.prior } }
        coordinates = mean { $0.figures.coordinates }
        gradientPenalty = mean { $0.figures.gradientPenalty }
        localInformation = mean { $0.figures.information[.localD] }
        globalInformation = mean { $0.figures.information[.globalD] }
        func largest(_ network: Network) -> Double {
            batches.compactMap { $0.figures.largestScore[network] }.max() ?? .nan
        }
        (localScore, globalScore) = (largest(.localD), largest(.globalD))
        if networks.contains(.priorD) { priorDistance = try TrainingReport.distance(batches) }
    }

    /// The mean over the vectors' numbers of the Wasserstein distance between their values and the uniform distribution on
    /// [0,1): the sorted values beside (i + 1/2) / n.
    private static func distance(_ batches: [ObjectiveLosses]) throws -> Double {
        let parts = batches.compactMap { batch in batch.figures.priorInputs.map { ($0, batch.figures.images) } }
        let rows = parts.reduce(0) { $0 + $1.1 }
        guard rows > 0 else { return .nan }
        let size = parts[0].0.count / parts[0].1
        try requireMemory(2 * rows * MemoryLayout<Float>.stride)
        var sum = 0.0
        var values: [Float] = []
        values.reserveCapacity(rows)
        for unit in 0..<size {
            values.removeAll(keepingCapacity: true)
            for (buffer, images) in parts { for i in 0..<images { values.append(buffer.pointer[i * size + unit]) } }
            values.sort()
            for i in 0..<rows { sum += abs(Double(values[i]) - (Double(i) + 0.5) / Double(rows)) }
        }
        return sum / Double(rows * size)
    }
}
