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
    /// Longer than a closed connection's lingering holds its memory.
    private static let restTicks = 40

    private let connections: Logger
    private let drops: Logger
    private let store: Logger
    private let closed = Atomic<Int>(0)
    private let seen = Atomic<Int>(0)
    private let closedAtTrim = Atomic<Int>(0)
    private let quietTicks = Atomic<Int>(0)

    init(_ logger: (LogCategory) -> Logger) {
        connections = logger(.connections)
        drops = logger(.drops)
        store = logger(.broker)
    }

    func log(_ events: [CoreEvent]) {
        for event in events {
            switch event {
            case .connected(let client, let sessionPresent, let keepAlive):
                connections.info(
                    "client connected",
                    metadata: [
                        "client": "\(LogText.printable(client.id))", "address": "\(client.address)",
                        "protocol": "\(client.version)", "session": sessionPresent ? "resumed" : "new",
                        "keep-alive": "\(keepAlive)",
                    ]
                )
            case .disconnected(let client, let hadConnect, let reason):
                connections.info(
                    "client disconnected",
                    metadata: [
                        "client": "\(LogText.printable(client.id))", "address": "\(client.address)",
                        "protocol": hadConnect ? "\(client.version)" : "none",
                        "reason": "\(LogText.printable(reason.description))",
                    ]
                )
            case .dropped(let clientID, let cause, let count):
                drops.log(
                    level: Self.level(cause),
                    "messages dropped",
                    metadata: [
                        "client": clientID.isEmpty ? "none" : "\(LogText.printable(clientID))",
                        "cause": "\(cause.name)", "count": "\(count)",
                    ]
                )
            case .unreadable(let clientID, let reason):
                store.error(
                    "messages cannot be read from the store",
                    metadata: [
                        "client": "\(LogText.printable(clientID))", "reason": "\(LogText.printable(reason))",
                    ]
                )
            }
        }
    }

    /// What a limit took is worth a warning; what a client's absence did is as it asked for.
    private static func level(_ cause: DropCause) -> Logger.Level {
        switch cause {
        case .queueFull, .backlog, .tooLarge, .noMember, .notRetained: .warning
        case .expired, .offline, .sessionEnded, .notForwarded, .cleared: .debug
        }
    }

    func connectionClosed() { closed.add(1, ordering: .relaxed) }

    /// Whether many connections have closed, and none since this was asked `restTicks` times. Asked by one loop.
    func hasComeToRest() -> Bool {
        let count = closed.load(ordering: .relaxed)
        guard count - closedAtTrim.load(ordering: .relaxed) >= Self.closedBeforeTrim else { return false }
        guard seen.exchange(count, ordering: .relaxed) == count else {
            quietTicks.store(0, ordering: .relaxed)
            return false
        }
        guard quietTicks.add(1, ordering: .relaxed).newValue >= Self.restTicks else { return false }
        quietTicks.store(0, ordering: .relaxed)
        closedAtTrim.store(count, ordering: .relaxed)
        return true
    }

    /// The C library keeps what it was given back; after a mass close that is most of the memory.
    func trimMemory() {
        NIOSingletons.posixBlockingThreadPool.submit { _ in apus_trim_memory() }
    }
}
