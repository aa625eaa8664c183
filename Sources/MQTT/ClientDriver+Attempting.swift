import MQTTPackets
import MQTTSessions
import NIOCore

/// How attempts to connect follow one another. All of it is here and not in a task: the frames of one that waits take as
/// much memory as all the rest of an idle client.
extension ClientDriver {
    private static let referencesMax = 10

    struct Series {
        /// Whether a first attempt at each server that fails is followed by others.
        let isPatient: Bool
        var backoff: Backoff
        /// Of the attempt that is made next, from 1; it begins anew once a connection was made.
        var number = 1
        /// The place in the configuration's list, counted on.
        var nextServer = 0
        /// All references of servers so far. A new one is followed also by who tries each server once.
        var references: Set<ServerAddress> = []
        var hasConnected = false
        /// That of the last attempt.
        var server: ServerAddress?
        /// Told when it is over; the status has the cause.
        let over: WaitingTask<Void>
    }

    /// Takes up what the store has, connects and keeps connected.
    func begin(_ series: Series) {
        self.series = series
        guard let store = storing?.store else { return beginAttempt(at: nil) }
        Task(executorPreference: configuration.environment.executor) { [outbox] in
            do {
                let kept = try await KeptSession(opening: store)
                outbox.perform { $0.opened(kept) }
            } catch {
                let cause = "\(error)"
                outbox.perform { $0.finish(.storeFailed(cause)) }
            }
        }
    }

    private func opened(_ kept: KeptSession) {
        if let failure = restore(kept) { return finish(failure) }
        beginAttempt(at: nil)
    }

    private func beginAttempt(at reference: ServerAddress?) {
        guard let series else { return }
        guard !isEnding else { return finish(failure) }
        let configuration = configuration
        let server = reference ?? configuration.servers[series.nextServer % configuration.servers.count]
        if reference == nil { self.series?.nextServer += 1 }
        self.series?.server = server
        // Before 5.0 a session that is to end with its connection has to be asked for each time.
        let startsClean = configuration.cleanStart && (!series.hasConnected || version < .v5)
        let number = series.number
        preparing = Task(executorPreference: configuration.environment.executor) {
            [outbox, clientID = session.clientID] in
            let result: Result<ConnectionTarget, MQTTError>
            do throws(MQTTError) {
                let connect = try await configuration.prepare(number, server, clientID)
                result = .success(ConnectionTarget(server: connect.0, connect: connect.1, cleanStart: startsClean))
            } catch {
                result = .failure(error)
            }
            outbox.perform { $0.prepared(result) }
        }
    }

    private func prepared(_ result: Result<ConnectionTarget, MQTTError>) {
        preparing = nil
        guard !isEnding else { return finish(failure) }
        switch result {
        case .success(let target): connect(target)
        case .failure(let error): attemptEnded(error, wasConnected: false)
        }
    }

    /// An attempt, or the connection that came of it, is over; without an error where that was asked for.
    func attemptEnded(_ error: MQTTError?, wasConnected: Bool) {
        if wasConnected {
            series?.hasConnected = true
            series?.backoff.succeeded()
            series?.number = 0
        }
        guard let error else { return finish(nil) }
        status.emit(.disconnected(error))
        logger.info("disconnected", metadata: ["cause": "\(error)"])
        guard let series else { return }
        let reference =
            configuration.followsServerReference
            ? error.serverReference.flatMap { ServerAddress(reference: $0, credentialsOf: series.server) } : nil
        let isNewReference = reference.map { isNew($0) } ?? false
        guard
            series.isPatient || series.hasConnected || isNewReference
                || series.nextServer < configuration.servers.count,
            mayRetry(error),
            let delay = self.series?.backoff.next()
        else { return finish(error) }
        let number = series.number + 1
        self.series?.number = number
        status.emit(.reconnecting(in: delay, attempt: number))
        guard !isEnding else { return finish(failure) }
        pauseReference = reference
        pause = schedule(in: TimeAmount(delay)) { $0.endPause() }
    }

    /// Whether no server has sent the client there before; after so many there is none that is followed for being new.
    private func isNew(_ reference: ServerAddress) -> Bool {
        guard let references = series?.references, references.count < Self.referencesMax else { return false }
        return series?.references.insert(reference).inserted ?? false
    }

    private func mayRetry(_ error: MQTTError) -> Bool {
        if error.isTransient { return true }
        switch error {
        // By this client itself, as it seems.
        case .disconnected(.sessionTakenOver, _) where lateConnects > 0:
            lateConnects -= 1
            return true
        case .refused, .authenticationFailed: return configuration.reconnect.retriesRefusals
        default: return false
        }
    }

    /// The next attempt begins now, where one is waited for.
    func endPause() {
        guard let pause else { return }
        self.pause = nil
        pause.cancel()
        beginAttempt(at: pauseReference)
    }

    private func finish(_ error: MQTTError?) {
        guard let over = series?.over else { return }
        series = nil
        ended(error)
        guard let store = storing?.store else { return over.resume() }
        Task(executorPreference: configuration.environment.executor) { [outbox] in
            await withCheckedContinuation { (waiter: CheckedContinuation<Void, Never>) in
                outbox.perform { $0.finishStoring(WaitingTask(waiter)) }
            }
            await store.close()
            over.resume()
        }
    }
}

extension MQTTClient.Configuration {
    /// Whom an attempt is made to, and with what CONNECT.
    func prepare(
        _ number: Int,
        _ server: ServerAddress,
        _ clientID: String
    ) async throws(MQTTError) -> (ServerAddress, Connect) {
        var attempt = ConnectionAttempt(
            number: number,
            server: server,
            userName: userName ?? server.userName,
            password: password ?? server.password.map { ByteBuffer(string: $0) },
            will: will
        )
        do { try await prepareConnection?(&attempt) } catch {
            throw .connectFailed("\(error)")
        }
        let data: ByteBuffer?
        do { data = try await authenticator?.initialData() } catch {
            throw .authenticationFailed("\(error)")
        }
        guard attempt.server.isValid else { throw .invalidArgument("\(attempt.server.port) is not a port, 1 to 65535") }
        let connect = connect(attempt, clientID: clientID, authenticationData: data)
        do { try connect.check() } catch { throw .invalidArgument(error.explanation) }
        return (attempt.server, connect)
    }
}

/// The settings of one client, in one place for all its parts.
final class SharedConfiguration: Sendable {
    let value: MQTTClient.Configuration
    /// Asked for each message: the value would be copied for it.
    let isDurable: Bool

    init(_ value: MQTTClient.Configuration) {
        self.value = value
        isDurable = value.durableStore != nil
    }
}
