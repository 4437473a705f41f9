{{/* Arguments of the gate: the names of its objects. */}}
{{- define "gatewatch.webhookArguments" -}}
- serve
- --listen={{ .Values.webhook.listenAddress }}:{{ .Values.webhook.port }}
- --metrics-address={{ .Values.webhook.listenAddress }}:{{ .Values.webhook.metricsPort }}
- --service={{ include "gatewatch.webhook" . }}
- --modes={{ include "gatewatch.modes" . }}
- --lease={{ include "gatewatch.webhook" . }}
{{- range .Values.webhook.templates }}
- --template={{ .kind }}.{{ .group }}={{ .path }}
{{- end }}
- --agent-selector=app.kubernetes.io/instance={{ .Release.Name }},app.kubernetes.io/component=agent
- --tls-secret={{ include "gatewatch.shared" . }}
- --registrations={{ include "gatewatch.fullname" . }}
{{- if ne .Values.webhook.certificates.source "self" }}
- --tls-dir=/etc/gatewatch/tls
{{- end }}
{{- end }}
