import CApusPlatform
import Logging
import MQTTCore
import NIOCore
import NIOPosix
import Synchronization

/// One line for each connection that comes and each that goes, and memory given back after many have gone.
final class ConnectionLog: Sendable {
    /// Connections that close before memory is given back to the system.
    private static let closedBeforeTrim = 500

    private let logger: Logger
    private let closed = Atomic<Int>(0)
    private let seen = Atomic<Int>(0)
    private let closedAtTrim = Atomic<Int>(0)

    init(_ logger: Logger) { self.logger = logger }

    func log(_ events: [CoreEvent]) {
        for event in events {
            switch event {
            case .connected(let clientID, let address, let version, let sessionPresent, let keepAlive):
                logger.info(
                    "client connected",
                    metadata: [
                        "client": "\(clientID)", "address": "\(address)", "protocol": "\(version)",
                        "session": sessionPresent ? "resumed" : "new", "keep-alive": "\(keepAlive)",
                    ])
            case .disconnected(let clientID, let address, let version, let reason):
                logger.info(
                    "client disconnected",
                    metadata: [
                        "client": "\(clientID)", "address": "\(address)",
                        "protocol": "\(version.map(String.init(describing:)) ?? "none")", "reason": "\(reason)",
                    ])
            }
        }
    }

    func connectionClosed() { closed.add(1, ordering: .relaxed) }

    /// The C library keeps what it was given back, and after a mass close that would be most of the memory: it is told to
    /// let go once the closing has come to rest.
    func tick() {
        let count = closed.load(ordering: .relaxed)
        let before = seen.exchange(count, ordering: .relaxed)
        let trimmed = closedAtTrim.load(ordering: .relaxed)
        guard count == before, count - trimmed >= Self.closedBeforeTrim else { return }
        closedAtTrim.store(count, ordering: .relaxed)
        NIOSingletons.posixBlockingThreadPool.submit { _ in apus_trim_memory() }
    }
}
