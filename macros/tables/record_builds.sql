{# At the end of a run: when each audience was built, by which invocation, and how that ended. Syncs read it
   for `max_age`, and name the invocation in `sync_runs`. An audience that was skipped was not built: its row
   stays as it is. Nor is it built where `revetl identity diff` tries other rules. #}
{% macro record_builds(results) %}
    {% if not execute or flags.WHICH not in ['build', 'run'] or var('identity_preview', false) %}
        {{ return('') }}
    {% endif %}
    {% set names = [] %}
    {% set rows = [] %}
    {% for result in results
        if result.node.resource_type == 'model' and 'revetl' in result.node.config.meta
        and result.status != 'skipped' %}
        {% set ended = result.timing | map(attribute='completed_at') | select | list %}
        {% set moment = "cast('" ~ (ended | max).isoformat(' ') ~ "' as timestamp)" if ended else revetl.utc_now() %}
        {% do names.append("'" ~ result.node.unique_id ~ "'") %}
        {% do rows.append("('" ~ result.node.unique_id ~ "', '" ~ result.status ~ "', "
            ~ moment ~ ", '" ~ invocation_id ~ "')") %}
    {% endfor %}
    {% if rows %}
        {% set table = source('revetl', 'model_builds') %}
        {# In one transaction, as run_query would not be: a row must not be lost between the two. #}
        {% call statement() %}
            delete from {{ table }} where unique_id in ({{ names | join(', ') }})
        {% endcall %}
        {% call statement() %}
            insert into {{ table }} (unique_id, status, completed_at, invocation_id) values {{ rows | join(', ') }}
        {% endcall %}
        {% do adapter.commit() %}
    {% endif %}
{% endmacro %}
