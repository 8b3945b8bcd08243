{{- define "todo.labels" -}}
app.kubernetes.io/name: {{ .part }}
app.kubernetes.io/instance: {{ .top.Release.Name }}
{{- end }}
{{- define "todo.environment" -}}
- configMapRef: {name: {{ .Release.Name }}}
- secretRef: {name: {{ .Release.Name }}}
{{- end }}
{{- define "todo.settings" -}}
LIST_TITLE: {{ .Values.title | quote }}
DATABASE_HOST: {{ .Release.Name }}-database
DATABASE_NAME: todo
{{- end }}
