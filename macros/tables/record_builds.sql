{# At the end of a run: when each audience was built, by which invocation, and how that ended. Syncs read it
   for `max_age`, and name the invocation in `sync_runs`; alerts compare builds by `audience_builds`. An audience that was skipped was not built: its row
   stays as it is. Nor is it built where `revetl identity diff` tries other rules. #}
{% macro record_builds(results) %}
    {% if not execute or flags.WHICH not in ['build', 'run'] or var('identity_preview', false) %}
        {{ return('') }}
    {% endif %}
    {% set by = revetl.text_literal(target.name) %}
    {% set names = [] %}
    {% set rows = [] %}
    {% for result in results
        if result.node.resource_type == 'model' and 'revetl' in result.node.config.meta
        and result.status != 'skipped' %}
        {% set ended = result.timing | map(attribute='completed_at') | select | list %}
        {# dbt v2 has moments as texts: 2026-01-31T12:00:00.123456Z. #}
        {% set last = ended | max if ended else none %}
        {% set written = (last | replace('T', ' ') | replace('Z', ''))[:26] if last is string else last.isoformat(' ') if last %}
        {% set moment = "cast('" ~ written ~ "' as " ~ revetl.type_of('timestamp') ~ ")" if ended else revetl.utc_now() %}
        {% do names.append("'" ~ result.node.unique_id ~ "'") %}
        {% do rows.append("('" ~ result.node.unique_id ~ "', '" ~ result.status ~ "', "
            ~ moment ~ ", '" ~ invocation_id ~ "', " ~ by ~ ")") %}
    {% endfor %}
    {% if rows %}
        {% set built = [] %}
        {% for audience in revetl.built_audiences(results) if not flags.EMPTY %}
            {% do built.append('select ' ~ revetl.text_literal(audience.name) ~ ', ' ~ revetl.utc_now() ~ ", '" ~ invocation_id ~ "', " ~ by) %}
        {% endfor %}
        {# A row must not be lost between the two. #}
        {% do revetl.replace_values(
            revetl.state_table('model_builds'), 'unique_id, status, completed_at, invocation_id, target', rows,
            'target = ' ~ by ~ ' and unique_id in (' ~ names | join(', ') ~ ')',
            ['insert into ' ~ revetl.state_table('audience_builds')
                ~ ' (audience, completed_at, invocation_id, target) ' ~ built | join(' union all ')] if built else []) %}
    {% endif %}
{% endmacro %}
