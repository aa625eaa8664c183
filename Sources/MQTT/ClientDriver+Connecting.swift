import MQTTPackets
import MQTTSessions
import NIOCore
import NIOPosix

/// Whom an attempt is made to, and with what.
struct ConnectionTarget: Sendable {
    let server: ServerAddress
    let connect: Connect
    let cleanStart: Bool
}

extension ClientDriver {
    /// An attempt to connect, and the connection that comes of it.
    struct Attempt {
        let number: Int
        let server: ServerAddress
        let cleanStart: Bool
        var deadline: Scheduled<Void>?
        var wasConnected = false
        /// Why it ends, where that is known before the channel closes.
        var error: MQTTError?

        var wasRefused: Bool {
            if case .refused = error { return true }
            return false
        }
    }

    /// Connects; `attemptEnded` is told when it is over, whichever way.
    func connect(_ target: ConnectionTarget) {
        attempts += 1
        let number = attempts
        attempt = Attempt(number: number, server: target.server, cleanStart: target.cleanStart)
        session.connect = target.connect
        status.changed(to: .connecting)
        let timeout = TimeAmount(configuration.connectTimeout)
        attempt?.deadline = schedule(in: timeout) { $0.timedOut(number) }
        let driver = NIOLoopBound(self, eventLoop: eventLoop)
        let connecting = transport.connect(target.server, eventLoop, timeout) { channel in
            channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHandler(ClientHandler(driver.value, attempt: number))
            }
        }
        connecting.assumeIsolated().whenFailure { error in
            self.over(number, .connectFailed(Self.describe(error)))
        }
    }

    private static func describe(_ error: any Error) -> String {
        guard let error = error as? NIOConnectionError else { return SystemCause.of(error) }
        if let refusal = error.connectionErrors.first { return SystemCause.of(refusal.error) }
        return SystemCause.of(error.dnsAError ?? error.dnsAAAAError ?? error)
    }

    private func timedOut(_ number: Int) {
        guard attempt?.number == number, attempt?.wasConnected == false else { return }
        attempt?.error = .connectTimedOut
        handler?.close()
        over(number, .connectTimedOut)
    }

    /// The channel is there. False where nobody waits for it any more.
    func opened(_ handler: ClientHandler, attempt number: Int) -> Bool {
        guard let attempt, attempt.number == number, !isEnding else { return false }
        self.handler = handler
        turn {
            session.connectionBegan(cleanStart: attempt.cleanStart)
        }
        return true
    }

    /// The channel is gone, or will be.
    func closed(_ handler: ClientHandler, _ error: MQTTError) {
        guard self.handler === handler, let attempt else { return }
        over(attempt.number, error)
    }

    /// Nothing more comes of the attempt.
    func over(_ number: Int, _ error: MQTTError) {
        guard let ended = attempt, ended.number == number else { return }
        attempt = nil
        if handler != nil && !ended.wasConnected && !ended.wasRefused {
            mayHaveMissedSession = true
            lateConnects += 1
        }
        handler = nil
        ended.deadline?.cancel()
        keepAliveTimer?.cancel()
        keepAliveTimer = nil
        rest = ByteBuffer()
        restWanted = 0
        table.forgetAliases()
        handOver()
        let broken = ended.wasConnected && !isEnding ? messageBroken(by: ended.error ?? error) : nil
        session.connectionEnded()
        if let broken { brokeOn(broken) }
        outbox.setDisconnected()
        returnRequests()
        if ended.wasConnected && !isEnding { metrics.lost() }
        scheduleAging()
        if !isEnding { status.changed(to: .disconnected) }
        let cause = isEnding ? ended.error : ended.error ?? error
        attemptEnded(cause, wasConnected: ended.wasConnected)
    }

    // MARK: What the server says of the connection

    func connackReceived(_ connack: Connack) {
        guard let server = attempt?.server else { return }
        guard connack.reasonCode == .success else {
            attempt?.error = .refused(connack.reasonCode, connack.properties)
            handler?.close()
            return
        }
        attempt?.wasConnected = true
        attempt?.deadline?.cancel()
        attempt?.deadline = nil
        ageTimer?.cancel()
        ageTimer = nil
        metrics.connected()
        let limits = session.limits
        let takesAll = limits.isRetainAvailable && limits.packetBytesMax >= ServerLimits().packetBytesMax
        let refuses = { @Sendable [version, atMostOnceAlias] publish in
            limits.refusal(publish, version: version, alias: atMostOnceAlias)
        }
        outbox.setConnected(refusingAtMostOnce: takesAll ? nil : refuses)
        // What waited may be meant for the client's own filters.
        resubscribe(sessionPresent: connack.sessionPresent)
        session.pump()
        sendOffline()
        startKeepAlive(connack.properties[integer: .serverKeepAlive].map(Int.init) ?? Int(session.connect.keepAlive))
        status.changed(
            to: .connected(
                MQTTClient.Connection(
                    clientID: session.clientID,
                    sessionPresent: connack.sessionPresent,
                    properties: connack.properties,
                    server: server
                )
            )
        )
        if let authenticator = configuration.authenticator {
            authenticate { try await authenticator.succeeded(with: connack.properties[binary: .authenticationData]) }
        }
    }

    func disconnectReceived(_ disconnect: Disconnect) {
        attempt?.error = .disconnected(disconnect.reasonCode, disconnect.properties)
        handler?.close()
    }

    /// The server broke the protocol: it is told so, and the connection ends [MQTT-4.8.0-1] [MQTT-4.13.1-1].
    func violated(_ error: DecodingError) {
        attempt?.error = .protocolViolation(error.reasonCode, error.explanation)
        logger.debug("the server broke the protocol", metadata: ["cause": "\(error.explanation)"])
        if version == .v5 && isConnected {
            let isSayable = error.reasonCode.mayComeFromClient
            session.disconnect(isSayable ? error.reasonCode : .protocolError)
            write()
            handler?.closeAfterWrites()
        } else {
            handler?.close()
        }
    }

    // MARK: Keep alive

    private func startKeepAlive(_ seconds: Int) {
        hasSent = true
        hasReceived = true
        pingIsOutstanding = false
        guard seconds > 0 else { return }
        // Twice in the time, so that no silence lasts longer than it.
        keepAliveInterval = .milliseconds(Int64(seconds) * 500)
        scheduleKeepAlive()
    }

    private func scheduleKeepAlive() {
        guard let keepAliveInterval else { return }
        keepAliveTimer = schedule(in: keepAliveInterval) { $0.keepAlive() }
    }

    /// Pings where nothing was said or heard, and ends a connection whose last ping nothing has followed.
    private func keepAlive() {
        guard isConnected else { return }
        let isHeard = hasReceived || holdsReading
        if pingIsOutstanding && !isHeard {
            attempt?.error = .keepAliveTimedOut
            handler?.close()
            return
        }
        let mustPing = !hasSent || !hasReceived
        (hasSent, hasReceived, pingIsOutstanding) = (false, false, mustPing)
        if mustPing { turn { session.ping() } }
        scheduleKeepAlive()
    }

    // MARK: Authentication

    /// AUTH came (section 4.12).
    func authReceived(_ auth: Auth) throws(DecodingError) {
        guard let authenticator = configuration.authenticator,
            auth.properties[string: .authenticationMethod] == authenticator.method
        else { throw .protocolError("AUTH of a method that was not begun") }
        let data = auth.properties[binary: .authenticationData]
        // Only the client begins anew (section 4.12.1).
        guard auth.reasonCode != .reAuthenticate else { throw .protocolError("AUTH that begins anew") }
        guard auth.reasonCode == .continueAuthentication else {
            // [MQTT-4.12.1-1]: the answer to a re-authentication.
            authenticate { [status] in
                try await authenticator.succeeded(with: data)
                status.emit(.reauthenticated)
            }
            return
        }
        let number = attempt?.number
        authenticate { [outbox] in
            let answer = try await authenticator.respond(to: data)
            // On another connection it would answer nothing.
            outbox.perform { driver in
                guard driver.attempt?.number == number else { return }
                driver.sendAuth(.continueAuthentication, authenticator.method, answer)
            }
        }
    }

    /// Begins re-authentication.
    func sendAuth(_ reasonCode: ReasonCode, _ method: String, _ data: ByteBuffer?) {
        guard session.phase != .offline else { return }
        var properties = Properties()
        properties[string: .authenticationMethod] = method
        properties[binary: .authenticationData] = data
        guard !session.isTooLarge(.auth(Auth(reasonCode: reasonCode, properties: properties))) else {
            return authenticationFailed("AUTH is larger than the server takes", attempt: attempt?.number)
        }
        session.authenticate(reasonCode, properties: properties)
    }

    private func authenticate(_ step: @escaping @Sendable () async throws -> Void) {
        let number = attempt?.number
        Task(executorPreference: configuration.environment.executor) { [outbox] in
            do {
                try await step()
            } catch {
                outbox.perform { $0.authenticationFailed("\(error)", attempt: number) }
            }
        }
    }

    private func authenticationFailed(_ cause: String, attempt number: Int?) {
        guard attempt?.number == number else { return }
        attempt?.error = .authenticationFailed(cause)
        if isConnected { session.disconnect(.unspecifiedError) }
        write()
        handler?.closeAfterWrites()
    }
}
