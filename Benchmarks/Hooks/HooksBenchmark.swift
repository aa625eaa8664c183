import ArgumentParser
import Logging
import MQTTServer

/// A broker whose hooks allow everything, to be measured beside one that has none.
@main
struct HooksBenchmark: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hooks-bench",
        abstract: "A broker in memory whose hooks allow everything, for Benchmarks/peer/compare."
    )

    enum Hooks: String, ExpressibleByArgument, CaseIterable {
        case none
        case authorizePublish = "authorize-publish"
        case replace
        case authorizeForward = "authorize-forward"
        case published
    }

    @Option(help: "The port to listen on, on loopback.")
    var port: Int

    @Option(help: "Event loops.")
    var threads = 1

    @Option(help: "The hook that is set: \(Hooks.allCases.map(\.rawValue).joined(separator: ", ")).")
    var hook = Hooks.none

    func run() async throws {
        var configuration = BrokerConfiguration()
        configuration.addresses = [.init(host: "127.0.0.1", port: port)]
        configuration.threads = threads
        var logger = Logger(label: "hooks-bench")
        logger.logLevel = .error
        try await MQTTBroker(configuration: configuration, hooks: hooks, logger: logger).run()
    }

    private var hooks: BrokerHooks {
        var hooks = BrokerHooks()
        switch hook {
        case .none: break
        case .authorizePublish: hooks.authorizePublish = { _, request in request.topic.isEmpty ? .deny() : .allow }
        case .replace: hooks.authorizePublish = { _, request in .replace(topic: request.topic) }
        case .authorizeForward: hooks.authorizeForward = { message, _ in message.qos != .exactlyOnce }
        case .published: hooks.published = { _, _ in .acknowledge }
        }
        return hooks
    }
}
