import Benchmark
import CCounts

let benchmarks: @Sendable () -> Void = {
    guard counts_are_known() != 0 else { fatalError("allocations and retains are counted on Linux with glibc only") }
    codecBenchmarks()
    routingBenchmarks()
    sessionBenchmarks()
    coreBenchmarks()
}
