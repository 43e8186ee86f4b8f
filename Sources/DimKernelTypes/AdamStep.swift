/// The factors of one step of Adam, including its bias corrections.
package struct AdamStep {
    package var oneMinusBeta1: Float
    package var beta2: Float
    package var oneMinusBeta2: Float
    /// sqrt(1 - beta2^t)
    package var rootCorrection: Float
    package var epsilon: Float
    /// learning rate / (1 - beta1^t)
    package var stepSize: Float
    package var weightDecay: Float

    /// `t` counts from 1.
    package init(
        learningRate: Double, beta1: Double, beta2: Double, epsilon: Double, weightDecay: Double,
        rootCorrection: Double, correction1: Double
    ) {
        oneMinusBeta1 = Float(1 - beta1)
        self.beta2 = Float(beta2)
        oneMinusBeta2 = Float(1 - beta2)
        self.rootCorrection = Float(rootCorrection)
        self.epsilon = Float(epsilon)
        stepSize = Float(learningRate / correction1)
        self.weightDecay = Float(weightDecay)
    }
}
