import DimArchitecture

/// Where a backward pass adds the gradients of parameters: DimTraining's array of them all.
package protocol GradientTarget: AnyObject {
    /// By index into the network's specs.
    func pointer(_ network: Network, _ parameter: Int) -> UnsafeMutablePointer<Float>
}
