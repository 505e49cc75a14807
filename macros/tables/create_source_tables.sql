{# Create the tables of revetl's own sources (what is landed, and what was delivered) that are missing, and
   add the columns that a newer version has, by the columns of the sources' YAML. Nothing is dropped, and where nothing
   is missing, the one question to the catalog is all that is sent. #}
{% macro create_source_tables() %}
    {% if not execute or flags.WHICH not in ['build', 'run', 'test', 'seed', 'snapshot'] %}
        {{ return('') }}
    {% endif %}
    {% do revetl.mend_tables() %}
    {% set tables = graph.sources.values() | selectattr('package_name', 'equalto', 'revetl') | list %}
    {% set columns_there = revetl.columns_there(tables) %}
    {% set schemas = [] %}
    {% set missing = [] %}
    {% for table in tables %}
        {% set relation = api.Relation.create(
            database=table.database, schema=table.schema, identifier=table.identifier) %}
        {% set known = columns_there.get((table.schema | lower) ~ '.' ~ (table.identifier | lower)) if columns_there is not none %}
        {% if not known %}
            {% if table.schema not in schemas %}
                {% do adapter.create_schema(relation) %}
                {% do schemas.append(table.schema) %}
            {% endif %}
            {% set columns = [] %}
            {% for column in table.columns.values() %}
                {% do columns.append(revetl.quoted(column.name) ~ ' ' ~ revetl.stored_type_of(column.data_type)) %}
            {% endfor %}
            {% do missing.append(revetl.create_table_if_missing(
                relation, columns | join(', '), revetl.source_storage(table))) %}
        {% endif %}
        {% if columns_there is none %}
            {% do revetl.run_in_turn(missing) %}
            {% do missing.clear() %}
            {% set known = adapter.get_columns_in_relation(relation) | map(attribute='name') | map('lower') | list %}
        {% endif %}
        {% for column in table.columns.values() if known and column.name | lower not in known %}
            {% do missing.append(revetl.add_column(
                relation, revetl.quoted(column.name) ~ ' ' ~ revetl.type_of(column.data_type))) %}
        {% endfor %}
    {% endfor %}
    {% if missing %}
        {% do revetl.run_together(missing) %}
    {% elif columns_there is none %}
        {% do adapter.commit() %}
    {% endif %}
{% endmacro %}

{# The columns of tables, by `schema.table` in lower case: a list of names for each that is there. None where the engine
   has no catalog that is asked once for all. #}
{% macro columns_there(tables) -%}
    {{ return(adapter.dispatch('columns_there', 'revetl')(tables)) }}
{%- endmacro %}

{% macro default__columns_there(tables) -%}
    {{ return(none) }}
{%- endmacro %}

{% macro duckdb__columns_there(tables) -%}
    {{ return(revetl.columns_in_catalog(tables, 'system.information_schema.columns')) }}
{%- endmacro %}

{% macro postgres__columns_there(tables) -%}
    {{ return(revetl.columns_in_catalog(tables, 'information_schema.columns')) }}
{%- endmacro %}

{% macro redshift__columns_there(tables) -%}
    {{ return(none) }}
{%- endmacro %}

{% macro snowflake__columns_there(tables) -%}
    {{ return(revetl.columns_in_catalog(tables, tables[0].database ~ '.information_schema.columns')) }}
{%- endmacro %}

{% macro columns_in_catalog(tables, catalog) -%}
    {% set schemas = [] %}
    {% for table in tables if (table.schema | lower) not in schemas %}
        {% do schemas.append(table.schema | lower) %}
    {% endfor %}
    {% if tables | map(attribute='database') | unique | list | length != 1 %}
        {{ return(none) }}
    {% endif %}
    {% set quoted = [] %}
    {% for schema in schemas %}
        {% do quoted.append(revetl.text_literal(schema)) %}
    {% endfor %}
    {% set found = {} %}
    {% for row in run_query('select lower(table_schema), lower(table_name), lower(column_name) from ' ~ catalog
        ~ ' where lower(table_catalog) = ' ~ revetl.text_literal(tables[0].database | lower)
        ~ ' and lower(table_schema) in (' ~ quoted | join(', ') ~ ')').rows %}
        {% set name = row[0] ~ '.' ~ row[1] %}
        {% if name not in found %}
            {% do found.update({name: []}) %}
        {% endif %}
        {% do found[name].append(row[2]) %}
    {% endfor %}
    {{ return(found) }}
{%- endmacro %}
